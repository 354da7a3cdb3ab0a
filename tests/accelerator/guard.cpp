// What a CPU build of torch lacks to have tensors of a device "cuda" or "mps": for each, a guard
// that changes nothing, and for CUDA the hooks that torch asks whether there is a device.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

template <c10::DeviceType TYPE>
struct Guard final : c10::impl::NoOpDeviceGuardImpl<TYPE> {
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {TYPE, 0}; }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, getDevice());
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
};

// The name of the class is the key that torch looks for.
struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

Guard<c10::DeviceType::CUDA> cuda;
Guard<c10::DeviceType::MPS> mps;
c10::impl::DeviceGuardImplRegistrar put_cuda(c10::DeviceType::CUDA, &cuda);
c10::impl::DeviceGuardImplRegistrar put_mps(c10::DeviceType::MPS, &mps);

}  // namespace

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks)
}

// Whether torch took the hooks, which it asks for once.
extern "C" bool is_there() { return at::detail::getCUDAHooks().hasCUDA(); }
