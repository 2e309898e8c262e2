// A manifest of parameters, divided by every policy that takes any model.
#include "optim/manifest.h"

#include "optim/policy.h"
#include "tests/fuzz/scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace strata;
    const auto path = fuzz::scratch().write("model.manifest", std::string(fuzz::text_of(bytes, size)));
    fuzz::allow_refusal([&] {
        const optim::Manifest manifest = optim::read_manifest(path);
        for (const auto kind : {optim::PolicyKind::single, optim::PolicyKind::layer_decay,
                                optim::PolicyKind::parameter_decay, optim::PolicyKind::prefix_decay}) {
            fuzz::allow_refusal([&] {
                optim::PolicyConfig policy;
                policy.kind = kind;
                optim::make_groups(manifest, policy, 1e-3);
            });
        }
    });
    return 0;
}
