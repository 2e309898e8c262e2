// The committed batch of tests/fixtures/models, packed.
#pragma once

#include <torch/types.h>

#include <numeric>
#include <vector>

#include "models/packed_input.h"
#include "tests/models/support.h"
#include "tests/models/tensors.h"

namespace strata::models::testing {

/// The committed batch, its sequences in the given order (all of them, in theirs, when empty).
struct Batch {
    explicit Batch(std::vector<std::size_t> order = {}, bool keep_positions = false) {
        const auto json = nlohmann::json::parse(read_file(fixtures() / "batch.json"));
        if (order.empty()) {
            order.resize(json.at("ids").size());
            std::iota(order.begin(), order.end(), std::size_t{0});
        }
        std::vector<std::int64_t> ids, types, offsets{0}, positions;
        for (const std::size_t i : order) {
            for (const std::int64_t id : json.at("ids")[i]) ids.push_back(id);
            for (const std::int64_t type : json.at("token_types")[i]) types.push_back(type);
            offsets.push_back(static_cast<std::int64_t>(ids.size()));
            positions.push_back(keep_positions ? static_cast<std::int64_t>(i)
                                               : static_cast<std::int64_t>(positions.size()));
            labels.push_back(json.at("labels")[i]);
            values.push_back(json.at("values")[i]);
        }
        input = PackedInput::from_vectors(ids, types, {}, offsets, positions);
        rate = json.at("sgd_rate");
    }
    PackedInput input;
    std::vector<double> labels, values;
    double rate = 0;
};

}  // namespace strata::models::testing
