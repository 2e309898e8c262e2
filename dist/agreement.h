// Ranks that must agree: the same input everywhere, and the same error everywhere.
//
// An error on one rank leaves the others waiting in the next collective. Where all ranks can meet, they exchange their
// errors instead and all throw the same one; such an error is marked AgreedError, and a program that catches it may
// finalise in good order: rank 0 prints it, every rank exits with the same code. Any other exception needs abort_job().
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "dist/communicator.h"

namespace strata::dist {

/// Marks an exception that every rank throws alike.
class AgreedError {
  public:
    virtual ~AgreedError() = default;
};

class AgreedUserError : public UserError, public AgreedError {
  public:
    using UserError::UserError;
};

class AgreedSystemError : public SystemError, public AgreedError {
  public:
    using SystemError::SystemError;
};

bool is_agreed(const std::exception& error);

/// Where the ranks' values differ: "rank 1 on node2 against the others: 'seed = 2' against 'seed = 1'", naming the
/// ranks that differ from the majority, their hosts and the first line that differs; nothing where all are equal.
/// Collective.
std::optional<std::string> difference_of(Communicator& communicator, const std::string& summary);

/// All ranks must bring equal values of `what` ("the plan", "the configuration"). Else all of them throw one
/// AgreedUserError with that difference.
void require_equal_everywhere(Communicator& communicator, const std::string& what, const std::string& summary);
void require_equal_everywhere(Communicator& communicator, const std::string& what, std::uint64_t hash);

/// A rank's GPU: the one it is, and what it is like ("NVIDIA H200, driver 580.65"), which all ranks' must be.
struct DeviceIdentity {
    std::string uuid;
    std::string kind;
};

/// Throws one AgreedUserError where two ranks share a device, where some ranks have one and others none, or where the
/// kinds differ. Collective.
void require_own_devices(Communicator& communicator, const std::optional<DeviceIdentity>& own);

/// Tells every rank of the others' errors: each brings its own (or null), and if there is any, all throw the error of
/// the lowest failing rank, as AgreedUserError if it was a UserError, else as AgreedSystemError. A message that not all
/// ranks share is preceded by the rank and host it comes from. Errors that are agreed already pass as they are.
void agree_on_error(Communicator& communicator, const std::string& what, std::exception_ptr own);

/// Runs `action` on every rank and returns its result, or throws the same error on all of them. `action` must not
/// itself wait for ranks that may have thrown. `what` completes the sentence "while ..." ("reading the training file");
/// it becomes the rank's task (activity.h).
template <typename Action>
auto collectively(Communicator& communicator, const std::string& what, Action&& action)
    -> std::invoke_result_t<Action> {
    communicator.activity().enter(what);
    std::exception_ptr error;
    if constexpr (std::is_void_v<std::invoke_result_t<Action>>) {
        try {
            std::forward<Action>(action)();
        } catch (...) {
            error = std::current_exception();
        }
        agree_on_error(communicator, what, error);
    } else {
        std::optional<std::invoke_result_t<Action>> result;
        try {
            result.emplace(std::forward<Action>(action)());
        } catch (...) {
            error = std::current_exception();
        }
        agree_on_error(communicator, what, error);
        return std::move(*result);
    }
}

}  // namespace strata::dist
