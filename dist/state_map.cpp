#include "dist/state_map.h"

#include "dist/state_file.h"
#include "dist/state_format.h"

namespace strata::dist {

StateMap::StateMap(const std::filesystem::path& path) : file_(path) {
    const StateFile state(path);
    for (const StoredGroup& stored : state.groups()) groups_.push_back(stored.group.name);
    for (const StateFile::Extent& extent : state.extents()) offsets_[extent.dataset] = extent.offset;
}

const std::byte* StateMap::data(std::size_t group, StateKind kind) const {
    const auto found = offsets_.find(dataset_path(groups_.at(group), kind));
    return found == offsets_.end() ? nullptr : file_.bytes().data() + found->second;
}

}  // namespace strata::dist
