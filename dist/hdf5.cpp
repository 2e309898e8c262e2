#include "dist/hdf5.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/error.h"

namespace strata::dist::hdf5 {
namespace {

constexpr std::size_t most_attribute_bytes = std::size_t{64} << 20;

/// Texts end with a zero, which h5dump does not show; it does show padding.
Type text_type(std::size_t size_with_zero) {
    const char* action = "making a text type";
    Type type(H5Tcopy(H5T_C_S1), action);
    check(H5Tset_size(type.get(), size_with_zero), action);
    check(H5Tset_strpad(type.get(), H5T_STR_NULLTERM), action);
    check(H5Tset_cset(type.get(), H5T_CSET_UTF8), action);
    return type;
}

/// The bytes of one fixed-length text, less its padding.
std::string unpadded(const char* data, std::size_t length) {
    return {data, static_cast<std::size_t>(std::find(data, data + length, '\0') - data)};
}

void write_scalar_attribute(hid_t object, const std::string& name, hid_t type, const void* value) {
    const std::string action = fmt::format("attribute {}", name);
    const Space space(H5Screate(H5S_SCALAR), action);
    const Attribute attribute(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), action);
    check(H5Awrite(attribute.get(), type, value), action);
}

Attribute open_scalar_attribute(hid_t object, const std::string& name, H5T_class_t expected,
                                const std::string& action) {
    Attribute attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), action);
    const Type type(H5Aget_type(attribute.get()), action);
    const Space space(H5Aget_space(attribute.get()), action);
    if (H5Tget_class(type.get()) != expected || H5Sget_simple_extent_npoints(space.get()) != 1) {
        system_error("{}: is not of the kind it should be", action);
    }
    return attribute;
}

void read_scalar_attribute(hid_t object, const std::string& name, const std::string& where, H5T_class_t expected,
                           hid_t memory_type, void* value) {
    const std::string action = fmt::format("{}: attribute {}", where, name);
    const Attribute attribute = open_scalar_attribute(object, name, expected, action);
    check(H5Aread(attribute.get(), memory_type, value), action);
}

/// The file's own fixed-length text type, checked.
std::size_t fixed_text_length(const Type& type, std::size_t most, const std::string& action) {
    if (H5Tget_class(type.get()) != H5T_STRING || check(H5Tis_variable_str(type.get()), action) != 0) {
        system_error("{}: is not a text of fixed length", action);
    }
    const std::size_t length = H5Tget_size(type.get());
    if (length == 0 || length > most) system_error("{}: a text of {} bytes", action, length);
    return length;
}

/// Refuses a dataset that is not one piece inside the file itself. Returns its bytes, which the file then really has.
std::size_t stored_bytes(const Dataset& dataset, const std::string& action) {
    const PropertyList properties(H5Dget_create_plist(dataset.get()), action);
    if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS || H5Pget_external_count(properties.get()) != 0) {
        system_error("{}: is not stored in one piece in this file", action);
    }
    const Type type(H5Dget_type(dataset.get()), action);
    const Space space(H5Dget_space(dataset.get()), action);
    const auto points = static_cast<std::uint64_t>(check(H5Sget_simple_extent_npoints(space.get()), action));
    const std::uint64_t bytes = H5Dget_storage_size(dataset.get());
    if (bytes == 0 && points == 0) return 0;
    const File file(H5Iget_file_id(dataset.get()), action);
    hsize_t file_bytes = 0;
    check(H5Fget_filesize(file.get(), &file_bytes), action);
    const std::uint64_t offset = H5Dget_offset(dataset.get());
    const std::size_t element = H5Tget_size(type.get());
    if (offset == HADDR_UNDEF || offset > file_bytes || bytes > file_bytes - offset || element == 0 ||
        points > bytes / element) {
        system_error("{}: takes more bytes than the file has", action);
    }
    take_error_text();
    return bytes;
}

struct CompoundLayout {
    std::size_t row_bytes = 0;
    std::vector<std::size_t> offsets;
    Type type;
};

/// The packed memory type of a table whose text columns have these lengths (0: a number).
CompoundLayout compound_layout(const std::vector<Column>& columns, const std::vector<std::size_t>& text_lengths) {
    CompoundLayout layout;
    for (const std::size_t length : text_lengths) {
        layout.offsets.push_back(layout.row_bytes);
        layout.row_bytes += length > 0 ? length : sizeof(std::uint64_t);
    }
    layout.type = Type(H5Tcreate(H5T_COMPOUND, layout.row_bytes), "making a table type");
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const Type type =
            columns[i].is_text ? text_type(text_lengths[i]) : Type(H5Tcopy(H5T_STD_U64LE), "making a table type");
        check(H5Tinsert(layout.type.get(), columns[i].name.c_str(), layout.offsets[i], type.get()),
              "making a table type");
    }
    return layout;
}

}  // namespace

void silence_errors() {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

std::string take_error_text() {
    std::string text;
    const auto take_first = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto& innermost = *static_cast<std::string*>(out);
        if (innermost.empty() && error->desc != nullptr) innermost = error->desc;
        return 0;
    };
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &text);
    H5Eclear2(H5E_DEFAULT);
    // A failed read or write: "file write failed: time = …, errno = 28, error message = 'No space left on device', buf
    // = …"
    constexpr std::string_view marker = "error message = '";
    if (const auto at = text.find(marker); at != std::string::npos) {
        const std::string words = text.substr(at + marker.size());
        text = words.substr(0, words.find('\''));
    }
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return text.empty() ? "HDF5 gives no reason" : text;
}

void throw_hdf5(const std::string& action) {
    throw SystemError(fmt::format("{}: {}", action, take_error_text()));
}

void write_attribute(hid_t object, const std::string& name, std::int64_t value) {
    write_scalar_attribute(object, name, H5T_STD_I64LE, &value);
}

void write_attribute(hid_t object, const std::string& name, std::uint64_t value) {
    write_scalar_attribute(object, name, H5T_STD_U64LE, &value);
}

void write_attribute(hid_t object, const std::string& name, double value) {
    write_scalar_attribute(object, name, H5T_IEEE_F64LE, &value);
}

void write_attribute(hid_t object, const std::string& name, const std::string& value) {
    write_scalar_attribute(object, name, text_type(value.size() + 1).get(), value.c_str());
}

std::int64_t read_int_attribute(hid_t object, const std::string& name, const std::string& where) {
    std::int64_t value = 0;
    read_scalar_attribute(object, name, where, H5T_INTEGER, H5T_NATIVE_INT64, &value);
    return value;
}

std::uint64_t read_unsigned_attribute(hid_t object, const std::string& name, const std::string& where) {
    std::uint64_t value = 0;
    read_scalar_attribute(object, name, where, H5T_INTEGER, H5T_NATIVE_UINT64, &value);
    return value;
}

double read_double_attribute(hid_t object, const std::string& name, const std::string& where) {
    double value = 0;
    read_scalar_attribute(object, name, where, H5T_FLOAT, H5T_NATIVE_DOUBLE, &value);
    return value;
}

std::string read_string_attribute(hid_t object, const std::string& name, const std::string& where) {
    const std::string action = fmt::format("{}: attribute {}", where, name);
    const Attribute attribute = open_scalar_attribute(object, name, H5T_STRING, action);
    const Type type(H5Aget_type(attribute.get()), action);
    std::string value(fixed_text_length(type, most_attribute_bytes, action), '\0');
    check(H5Aread(attribute.get(), type.get(), value.data()), action);
    return unpadded(value.data(), value.size());
}

void write_table(hid_t parent, const std::string& name, const std::vector<Column>& columns) {
    STRATA_CHECK(!columns.empty(), "table {} without columns", name);
    const std::size_t rows = columns.front().size();
    std::vector<std::size_t> lengths;
    for (const Column& column : columns) {
        STRATA_CHECK(column.size() == rows, "table {}: columns of different length", name);
        std::size_t length = column.is_text ? 1 : 0;
        for (const std::string& text : column.texts) length = std::max(length, text.size() + 1);
        lengths.push_back(length);
    }
    const CompoundLayout layout = compound_layout(columns, lengths);
    std::vector<char> bytes(rows * layout.row_bytes, '\0');
    for (std::size_t i = 0; i < columns.size(); ++i) {
        for (std::size_t row = 0; row < rows; ++row) {
            char* cell = bytes.data() + row * layout.row_bytes + layout.offsets[i];
            if (columns[i].is_text) {
                std::memcpy(cell, columns[i].texts[row].data(), columns[i].texts[row].size());
            } else {
                std::memcpy(cell, &columns[i].numbers[row], sizeof(std::uint64_t));
            }
        }
    }
    const hsize_t extent = rows;
    const Space space(H5Screate_simple(1, &extent, nullptr), name);
    const PropertyList properties = contiguous_dataset();
    const Dataset dataset(
        H5Dcreate2(parent, name.c_str(), layout.type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
        name);
    if (rows > 0) check(H5Dwrite(dataset.get(), layout.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), name);
}

void read_table(hid_t parent, const std::string& name, const std::string& where, std::vector<Column>& columns) {
    const std::string action = fmt::format("{}: dataset {}", where, name);
    const Dataset dataset(H5Dopen2(parent, name.c_str(), H5P_DEFAULT), action);
    const Type file_type(H5Dget_type(dataset.get()), action);
    const Space space(H5Dget_space(dataset.get()), action);
    if (H5Tget_class(file_type.get()) != H5T_COMPOUND || H5Sget_simple_extent_ndims(space.get()) != 1) {
        system_error("{}: is not a table", action);
    }
    std::vector<std::size_t> lengths;
    for (const Column& column : columns) {
        const int index = H5Tget_member_index(file_type.get(), column.name.c_str());
        if (index < 0) system_error("{}: has no column {}", action, column.name);
        const auto member = static_cast<unsigned>(index);
        const Type type(H5Tget_member_type(file_type.get(), member), action);
        if (!column.is_text && H5Tget_class(type.get()) != H5T_INTEGER) {
            system_error("{}: column {} does not hold integers", action, column.name);
        }
        lengths.push_back(column.is_text ? fixed_text_length(type, 4096, action) : 0);
    }
    const CompoundLayout layout = compound_layout(columns, lengths);
    const std::size_t most_rows = most_table_bytes / layout.row_bytes;
    stored_bytes(dataset, action);
    const auto rows = static_cast<std::size_t>(check(H5Sget_simple_extent_npoints(space.get()), action));
    if (rows > most_rows) system_error("{}: has {} rows, more than any checkpoint needs", action, rows);

    std::vector<char> bytes(rows * layout.row_bytes, '\0');
    if (rows > 0) check(H5Dread(dataset.get(), layout.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), action);
    for (std::size_t i = 0; i < columns.size(); ++i) {
        columns[i].texts.clear();
        columns[i].numbers.clear();
        for (std::size_t row = 0; row < rows; ++row) {
            const char* cell = bytes.data() + row * layout.row_bytes + layout.offsets[i];
            if (columns[i].is_text) {
                columns[i].texts.push_back(unpadded(cell, lengths[i]));
            } else {
                std::uint64_t number = 0;
                std::memcpy(&number, cell, sizeof(number));
                columns[i].numbers.push_back(number);
            }
        }
    }
}

void write_text(hid_t parent, const std::string& name, const std::string& text) {
    const Type type = text_type(text.size() + 1);
    const Space space(H5Screate(H5S_SCALAR), name);
    const PropertyList properties = contiguous_dataset();
    const Dataset dataset(
        H5Dcreate2(parent, name.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), name);
    check(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.c_str()), name);
}

std::string read_text(hid_t parent, const std::string& name, const std::string& where) {
    const std::string action = fmt::format("{}: dataset {}", where, name);
    const Dataset dataset(H5Dopen2(parent, name.c_str(), H5P_DEFAULT), action);
    const Type type(H5Dget_type(dataset.get()), action);
    const Space space(H5Dget_space(dataset.get()), action);
    const std::size_t length = fixed_text_length(type, most_table_bytes, action);
    if (H5Sget_simple_extent_npoints(space.get()) != 1 || stored_bytes(dataset, action) != length) {
        system_error("{}: is not one text", action);
    }
    std::string text(length, '\0');
    check(H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()), action);
    return unpadded(text.data(), text.size());
}

std::uint64_t float_vector_size(const Dataset& dataset, const std::string& where) {
    const Type type(H5Dget_type(dataset.get()), where);
    const Space space(H5Dget_space(dataset.get()), where);
    if (check(H5Tequal(type.get(), H5T_IEEE_F32LE), where) == 0 || H5Sget_simple_extent_ndims(space.get()) != 1) {
        system_error("{}: is not a vector of float32", where);
    }
    stored_bytes(dataset, where);
    return static_cast<std::uint64_t>(check(H5Sget_simple_extent_npoints(space.get()), where));
}

void read_floats(const Dataset& dataset, std::uint64_t begin, std::span<float> out, const std::string& where) {
    const hsize_t start = begin;
    const hsize_t count = out.size();
    const Space file_space(H5Dget_space(dataset.get()), where);
    check(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr), where);
    const Space memory_space(H5Screate_simple(1, &count, nullptr), where);
    check(H5Dread(dataset.get(), H5T_IEEE_F32LE, memory_space.get(), file_space.get(), H5P_DEFAULT, out.data()), where);
}

PropertyList contiguous_dataset() {
    const char* action = "making dataset properties";
    PropertyList properties(H5Pcreate(H5P_DATASET_CREATE), action);
    check(H5Pset_layout(properties.get(), H5D_CONTIGUOUS), action);
    check(H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY), action);
    check(H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER), action);
    check(H5Pset_obj_track_times(properties.get(), false), action);
    return properties;
}

PropertyList timeless(hid_t creation_class) {
    const char* action = "making creation properties";
    PropertyList properties(H5Pcreate(creation_class), action);
    check(H5Pset_obj_track_times(properties.get(), false), action);
    return properties;
}

PropertyList file_access() {
    const char* action = "making file properties";
    PropertyList properties(H5Pcreate(H5P_FILE_ACCESS), action);
    check(H5Pset_libver_bounds(properties.get(), H5F_LIBVER_V18, H5F_LIBVER_V18), action);
    // A checkpoint has one writer, and then never changes; locks only fail on file systems that have none.
    check(H5Pset_file_locking(properties.get(), false, true), action);
    return properties;
}

}  // namespace strata::dist::hdf5
