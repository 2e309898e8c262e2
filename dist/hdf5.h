// The part of HDF5 that the checkpoint uses, behind small owning handles.
//
// HDF5 reports failure by negative numbers and prints its error stack to stderr. Here every call goes through check():
// the innermost message of the stack, which carries the system's own words ("No space left on device"), becomes the
// text of a SystemError; nothing is printed after silence_errors(). HDF5 is not safe for threads: one thread of a
// process may call it at a time.
#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace strata::dist::hdf5 {

/// Switches HDF5's own printing off, for good: it also prints when the process ends, of what a failed close left
/// behind.
void silence_errors();

/// The innermost message of the current error stack, in one line; the stack is emptied.
std::string take_error_text();

/// Throws SystemError "<action>: <innermost message>".
[[noreturn]] void throw_hdf5(const std::string& action);

/// The result of an HDF5 call; throws if it is negative.
template <typename Result>
Result check(Result result, const std::string& action) {
    if (result < 0) throw_hdf5(action);
    return result;
}

/// One HDF5 identifier, closed when it goes. Movable, not copyable.
template <herr_t (*Close)(hid_t)>
class Handle {
  public:
    Handle() = default;
    /// Takes what an H5?open/create call returned; a negative one throws, saying `action`.
    Handle(hid_t id, const std::string& action) : id_(check(id, action)) {}
    ~Handle() { reset(); }
    Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
    Handle& operator=(Handle&& other) noexcept {
        std::swap(id_, other.id_);
        return *this;
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    hid_t get() const { return id_; }
    explicit operator bool() const { return id_ >= 0; }
    /// Closes now and says so if that fails, as a file's close does on a full disk.
    void close(const std::string& action) {
        if (id_ >= 0) check(Close(std::exchange(id_, H5I_INVALID_HID)), action);
    }
    void reset() {
        if (id_ >= 0) Close(std::exchange(id_, H5I_INVALID_HID));
    }

  private:
    hid_t id_ = H5I_INVALID_HID;
};

using File = Handle<H5Fclose>;
using Group = Handle<H5Gclose>;
using Dataset = Handle<H5Dclose>;
using Attribute = Handle<H5Aclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using PropertyList = Handle<H5Pclose>;

// Attributes. `where` names file and object in messages. A missing attribute, or one of another kind, is a SystemError.
void write_attribute(hid_t object, const std::string& name, std::int64_t value);
void write_attribute(hid_t object, const std::string& name, std::uint64_t value);
void write_attribute(hid_t object, const std::string& name, double value);
void write_attribute(hid_t object, const std::string& name, const std::string& value);
std::int64_t read_int_attribute(hid_t object, const std::string& name, const std::string& where);
std::uint64_t read_unsigned_attribute(hid_t object, const std::string& name, const std::string& where);
double read_double_attribute(hid_t object, const std::string& name, const std::string& where);
std::string read_string_attribute(hid_t object, const std::string& name, const std::string& where);

/// A table of columns, each of strings or of integers: a 1-D compound dataset, which h5py reads as a structured array.
struct Column {
    std::string name;
    bool is_text = false;
    std::vector<std::string> texts;      // of a text column; stored with one length for all, ending with a zero
    std::vector<std::uint64_t> numbers;  // of any other

    std::size_t size() const { return is_text ? texts.size() : numbers.size(); }
};

void write_table(hid_t parent, const std::string& name, const std::vector<Column>& columns);
/// Fills the columns named in `columns` (their is_text set). A table that lacks one, is not stored in one piece inside
/// the file, or takes more than most_table_bytes is a SystemError: a wrong file makes nothing large to be allocated.
void read_table(hid_t parent, const std::string& name, const std::string& where, std::vector<Column>& columns);
inline constexpr std::size_t most_table_bytes = std::size_t{256} << 20;

/// A scalar dataset holding one text of any length.
void write_text(hid_t parent, const std::string& name, const std::string& text);
std::string read_text(hid_t parent, const std::string& name, const std::string& where);

/// Elements of a dataset that is 1-D, float32 and contiguous; SystemError for any other.
std::uint64_t float_vector_size(const Dataset& dataset, const std::string& where);
/// Reads `out.size()` elements from `begin` on.
void read_floats(const Dataset& dataset, std::uint64_t begin, std::span<float> out, const std::string& where);

/// Properties of a dataset that lies in one piece, has its place from the start, and is never filled.
PropertyList contiguous_dataset();

/// Properties of a group (H5P_GROUP_CREATE) or file (H5P_FILE_CREATE) that notes no times, which would make two files
/// of the same state differ.
PropertyList timeless(hid_t creation_class);
/// Properties of a file: format of HDF5 1.8, whose object headers carry checksums.
PropertyList file_access();

}  // namespace strata::dist::hdf5
