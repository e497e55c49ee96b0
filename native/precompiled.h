// What most units include of the C++ library, which takes longer to read than they do. scripts/build-native.mjs
// compiles it once where units are compiled for a sanitizer; elsewhere each unit names what it needs, and the ordinary
// build shows that it does.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
