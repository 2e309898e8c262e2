// Reading state.h5. The file may be anything: whatever it says is held against what it is before it is believed.
#include <algorithm>
#include <limits>
#include <tuple>
#include <unordered_set>

#include <xxhash.h>

#include "core/error.h"
#include "dist/state_file.h"
#include "dist/state_format.h"

namespace strata::dist {
namespace {

constexpr std::int64_t most_elements = std::int64_t{1} << 48;  // no sum of two of them overflows

herr_t collect_link(hid_t, const char* name, const H5L_info_t* info, void* out) {
    // Links to elsewhere, in this file or another, have no business in a checkpoint.
    if (info->type != H5L_TYPE_HARD) return 0;
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
}

/// In no order: for any other, HDF5 (1.10) makes a table first, and frees what it has not filled where the file is
/// wrong.
std::vector<std::string> links_of(hid_t group, const std::string& action) {
    std::vector<std::string> links;
    hdf5::check(H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, collect_link, &links), action);
    return links;
}

/// Elements of a shape, or -1 where it has no sense.
std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
    std::int64_t elements = 1;
    for (const std::int64_t dimension : shape) {
        if (dimension < 0 || dimension > most_elements) return -1;
        if (dimension != 0 && elements > most_elements / dimension) return -1;
        elements *= dimension;
    }
    return elements;
}

}  // namespace

std::uint64_t hash_elements(const float* data, std::int64_t elements) {
    return XXH3_64bits(data, static_cast<std::size_t>(elements) * sizeof(float));
}

StateFile::StateFile(const std::filesystem::path& path) : path_(path) {
    hdf5::silence_errors();
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) user_error("{}: there is no such file", path.string());
    const hdf5::PropertyList access = hdf5::file_access();
    file_ = hdf5::File(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()),
                       fmt::format("{}: cannot be opened as HDF5", path.string()));
    read_header();
    read_groups();
    read_checksums();
    check_coverage();
}

std::string StateFile::where(const std::string& object) const {
    return fmt::format("{}: {}", path_.string(), object);
}

std::string StateFile::dataset_name(std::size_t group, StateKind kind) const {
    return fmt::format("/groups/{}/{}", links_[group], name_of(kind));
}

void StateFile::read_header() {
    const hid_t root = file_.get();
    const std::string at = where("/");
    if (hdf5::check(H5Aexists(root, "format"), at) == 0 ||
        hdf5::read_string_attribute(root, "format", at) != state_format) {
        user_error("{}: is not a state file of strata (no attribute format = \"{}\")", path_.string(), state_format);
    }
    const std::int64_t version = hdf5::read_int_attribute(root, "version", at);
    if (version != state_version) {
        user_error("{}: has version {}; this program reads version {}", path_.string(), version, state_version);
    }
    header_.step = hdf5::read_int_attribute(root, "step", at);
    header_.epoch = hdf5::read_double_attribute(root, "epoch", at);
    const std::int64_t world_size = hdf5::read_int_attribute(root, "world_size", at);
    if (world_size < 1 || world_size > std::numeric_limits<int>::max()) {
        system_error("{}: attribute world_size is {}", at, world_size);
    }
    header_.world_size = static_cast<int>(world_size);
    header_.stage = hdf5::read_string_attribute(root, "stage", at);
    header_.plan_hash = hdf5::read_unsigned_attribute(root, "plan_hash", at);
    header_.update_hash = hdf5::read_unsigned_attribute(root, "update_hash", at);
    header_.effective_config = hdf5::read_string_attribute(root, "effective_config", at);
    header_.provenance = hdf5::read_string_attribute(root, "provenance", at);
    header_.model_fingerprint = hdf5::read_string_attribute(root, "model_fingerprint", at);
    header_.train = hdf5::read_text(root, "train", path_.string());
}

void StateFile::read_groups() {
    const hdf5::Group all(H5Gopen2(file_.get(), "groups", H5P_DEFAULT), where("/groups"));
    std::vector<std::tuple<std::int64_t, std::string, StoredGroup>> found;
    for (const std::string& link : links_of(all.get(), where("/groups"))) {
        const hdf5::Group group(H5Gopen2(all.get(), link.c_str(), H5P_DEFAULT), where("/groups/" + link));
        const std::int64_t index = hdf5::read_int_attribute(group.get(), "index", where("/groups/" + link));
        found.emplace_back(index, link, read_group(link));
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
        return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
    });
    std::unordered_set<std::string> names;
    for (auto& [index, link, stored] : found) {
        for (const StateSegment& member : stored.group.members) {
            if (!names.insert(member.name).second) {
                system_error("{}: parameter {} is there twice", where("/groups/" + link), member.name);
            }
        }
        links_.push_back(std::move(link));
        groups_.push_back(std::move(stored));
    }
}

StoredGroup StateFile::read_group(const std::string& link) {
    const std::string at = where("/groups/" + link);
    const hdf5::Group group(H5Gopen2(file_.get(), ("/groups/" + link).c_str(), H5P_DEFAULT), at);
    StoredGroup stored;
    StateGroup& state = stored.group;
    state.name = hdf5::read_string_attribute(group.get(), "name", at);
    state.elements = hdf5::read_int_attribute(group.get(), "elements", at);
    state.step = hdf5::read_int_attribute(group.get(), "step", at);
    state.frozen = hdf5::read_int_attribute(group.get(), "frozen", at) != 0;
    state.multiplier = hdf5::read_double_attribute(group.get(), "multiplier", at);
    state.learning_rate = hdf5::read_double_attribute(group.get(), "learning_rate", at);
    state.weight_decay = hdf5::read_double_attribute(group.get(), "weight_decay", at);
    state.beta1 = hdf5::read_double_attribute(group.get(), "beta1", at);
    state.beta2 = hdf5::read_double_attribute(group.get(), "beta2", at);
    state.epsilon = hdf5::read_double_attribute(group.get(), "epsilon", at);
    if (group_link(state.name) != link) system_error("{}: attribute name is '{}'", at, state.name);

    std::vector<hdf5::Column> columns{{"name", true, {}, {}},
                                      {"offset", false, {}, {}},
                                      {"elements", false, {}, {}},
                                      {"shape", true, {}, {}},
                                      {"decays", false, {}, {}}};
    hdf5::read_table(group.get(), "members", at, columns);
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < columns[0].size(); ++i) {
        StateSegment member{columns[0].texts[i], {}, offset, 0, columns[4].numbers[i] != 0};
        const bool shaped = parse_shape(columns[3].texts[i], member.shape);
        member.elements = shaped ? elements_of(member.shape) : -1;
        if (member.elements < 0 || columns[1].numbers[i] != static_cast<std::uint64_t>(offset) ||
            columns[2].numbers[i] != static_cast<std::uint64_t>(member.elements) || offset > most_elements) {
            system_error("{}: dataset members: row {} ({}) does not fit its shape or its neighbours", at, i,
                         member.name);
        }
        offset += member.elements;
        state.members.push_back(std::move(member));
    }
    if (offset != state.elements) {
        system_error("{}: has {} elements by its attribute, {} by its members", at, state.elements, offset);
    }
    for (const StateKind kind : state_kinds) {
        const std::string name(name_of(kind));
        const std::string dataset_at = fmt::format("{}: dataset /groups/{}/{}", path_.string(), link, name);
        if (hdf5::check(H5Lexists(group.get(), name.c_str(), H5P_DEFAULT), dataset_at) == 0) continue;
        const hdf5::Dataset dataset(H5Dopen2(group.get(), name.c_str(), H5P_DEFAULT), dataset_at);
        const std::uint64_t size = hdf5::float_vector_size(dataset, dataset_at);
        if (size != static_cast<std::uint64_t>(state.elements)) {
            system_error("{}: has {} elements, its members have {}", dataset_at, size, state.elements);
        }
        stored.present[static_cast<std::size_t>(kind)] = true;
    }
    return stored;
}

void StateFile::read_checksums() {
    std::vector<hdf5::Column> columns{
        {"dataset", true, {}, {}}, {"offset", false, {}, {}}, {"length", false, {}, {}}, {"hash", false, {}, {}}};
    hdf5::read_table(file_.get(), "checksums", path_.string(), columns);
    for (std::size_t i = 0; i < columns[0].size(); ++i) {
        const std::uint64_t offset = columns[1].numbers[i];
        const std::uint64_t length = columns[2].numbers[i];
        if (length == 0 || length > static_cast<std::uint64_t>(checksum_block_elements) ||
            offset > static_cast<std::uint64_t>(most_elements)) {
            system_error("{}: dataset /checksums: row {} ({}) makes no sense", path_.string(), i, columns[0].texts[i]);
        }
        checksums_.push_back({columns[0].texts[i], static_cast<std::int64_t>(offset), static_cast<std::int64_t>(length),
                              columns[3].numbers[i]});
    }
    std::sort(checksums_.begin(), checksums_.end(), [](const auto& a, const auto& b) {
        return std::tie(a.dataset, a.offset) < std::tie(b.dataset, b.offset);
    });
}

void StateFile::check_coverage() const {
    std::size_t used = 0;
    for (std::size_t i = 0; i < groups_.size(); ++i) {
        for (const StateKind kind : state_kinds) {
            if (!groups_[i].present[static_cast<std::size_t>(kind)]) continue;
            const std::string name = dataset_name(i, kind);
            std::int64_t covered = 0;
            for (const ChecksumRow& row : rows_of(name)) {
                if (row.offset != covered) break;
                covered += row.length;
                ++used;
            }
            if (covered != groups_[i].group.elements) {
                system_error("{}: dataset /checksums: does not cover {} from element {} on", path_.string(), name,
                             covered);
            }
        }
    }
    if (used != checksums_.size()) {
        system_error("{}: dataset /checksums: {} rows, {} of them about datasets that are there", path_.string(),
                     checksums_.size(), used);
    }
}

std::span<const ChecksumRow> StateFile::rows_of(const std::string& dataset) const {
    const auto begin =
        std::lower_bound(checksums_.begin(), checksums_.end(), dataset,
                         [](const ChecksumRow& row, const std::string& name) { return row.dataset < name; });
    auto end = begin;
    while (end != checksums_.end() && end->dataset == dataset) ++end;
    return {begin, end};
}

void StateFile::read_row(const ChecksumRow& row, const hdf5::Dataset& dataset, std::vector<float>& block) const {
    const std::string at = where("dataset " + row.dataset);
    block.resize(static_cast<std::size_t>(row.length));
    hdf5::read_floats(dataset, static_cast<std::uint64_t>(row.offset), block, at);
    if (hash_elements(block.data(), row.length) != row.hash) {
        system_error("{} differs from its checksum in elements {} to {}: the file is damaged", at, row.offset,
                     row.offset + row.length - 1);
    }
}

void StateFile::read(std::size_t group, StateKind kind, std::vector<StatePiece> pieces) const {
    const StoredGroup& stored = groups_.at(group);
    STRATA_CHECK(stored.present[static_cast<std::size_t>(kind)], "{} has no {}", stored.group.name, name_of(kind));
    std::erase_if(pieces, [](const StatePiece& piece) { return piece.begin == piece.end; });
    std::sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    if (pieces.empty()) return;
    STRATA_CHECK(pieces.front().begin >= 0 && pieces.back().end <= stored.group.elements, "reads beyond {}",
                 stored.group.name);

    const std::string name = dataset_name(group, kind);
    const hdf5::Dataset dataset(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), where("dataset " + name));
    std::vector<float> block;
    std::size_t first = 0;  // the first piece that is not yet complete
    for (const ChecksumRow& row : rows_of(name)) {
        const std::int64_t row_end = row.offset + row.length;
        while (first < pieces.size() && pieces[first].end <= row.offset) ++first;
        if (first == pieces.size()) return;
        if (pieces[first].begin >= row_end) continue;
        read_row(row, dataset, block);
        for (std::size_t i = first; i < pieces.size() && pieces[i].begin < row_end; ++i) {
            const std::int64_t begin = std::max(pieces[i].begin, row.offset);
            const std::int64_t end = std::min(pieces[i].end, row_end);
            std::copy(block.begin() + (begin - row.offset), block.begin() + (end - row.offset),
                      pieces[i].destination + (begin - pieces[i].begin));
        }
    }
}

std::vector<std::string> StateFile::verify(int part, int parts) const {
    const std::size_t count = checksums_.size();
    const std::size_t begin = count * static_cast<std::size_t>(part) / static_cast<std::size_t>(parts);
    const std::size_t end = count * static_cast<std::size_t>(part + 1) / static_cast<std::size_t>(parts);
    std::vector<std::string> problems;
    std::vector<float> block;
    for (std::size_t i = begin; i < end; ++i) {
        try {
            const ChecksumRow& row = checksums_[i];
            const hdf5::Dataset dataset(H5Dopen2(file_.get(), row.dataset.c_str(), H5P_DEFAULT),
                                        where("dataset " + row.dataset));
            read_row(row, dataset, block);
        } catch (const SystemError& error) {
            problems.emplace_back(error.what());
        }
    }
    return problems;
}

std::vector<StateFile::Extent> StateFile::extents() const {
    std::vector<Extent> extents;
    const auto add = [&](const std::string& name, bool in_checksums) {
        const hdf5::Dataset dataset(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), where("dataset " + name));
        const std::uint64_t bytes = H5Dget_storage_size(dataset.get());
        if (bytes > 0) extents.push_back({name, H5Dget_offset(dataset.get()), bytes, in_checksums});
    };
    add("/train", false);
    add("/checksums", false);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
        add("/groups/" + links_[i] + "/members", false);
        for (const StateKind kind : state_kinds) {
            if (groups_[i].present[static_cast<std::size_t>(kind)]) add(dataset_name(i, kind), true);
        }
    }
    std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    return extents;
}

}  // namespace strata::dist
