// Loaded before libtorch_cpu, and so found before its own function of this name: the engine of
// autograd asks for the stream of every accelerator, and the fake one has none to give.
#include <cstdint>

namespace c10 {
enum class DeviceType : int8_t;
}

namespace at::accelerator {
bool isAccelerator(c10::DeviceType) { return false; }
}
