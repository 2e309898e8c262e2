// The bytes of a TensorBoard event file (events.out.tfevents.*), as pure functions.
//
// A file is records: the data's length (uint64), the length's masked CRC-32C, the data, the data's masked CRC-32C, all
// little-endian (tensorflow/core/lib/io/record_writer.h). A record's data is one Event message
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto) in protobuf's wire format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace strata::app {

/// CRC-32C (Castagnoli), as iSCSI has it: RFC 3720, appendix B.4.
std::uint32_t crc32c(std::string_view bytes);

/// One number of a step. Event files hold single precision.
struct Scalar {
    std::string tag;  ///< "train/loss": what comes before the slash is the section TensorBoard shows it in
    double value = 0;
};

// Whole records. `wall_time` is in seconds since 1970.

/// What every file opens with.
std::string version_record(double wall_time);

/// SessionLog START: a reader forgets what earlier files of the folder hold of this step and later ones.
std::string start_record(double wall_time, std::int64_t first_step);

std::string scalars_record(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

}  // namespace strata::app
