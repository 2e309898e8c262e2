#include "models/model.h"

namespace strata::models {

NamedTensors SequenceModel::named_parameter_list() const {
    NamedTensors list;
    for (const auto& item : named_parameters()) list.emplace_back(item.key(), item.value());
    return list;
}

}  // namespace strata::models
