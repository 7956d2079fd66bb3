// A core behind plain C calls, for hdl/compiled.py: it loads parts, collects words, and counts cycles.
#include <cstdint>
#include <cstring>
#include <vector>

#include "Vmachine.h"
#include "verilated.h"

namespace {

struct Machine {
    VerilatedContext context;
    Vmachine top{&context};
    std::uint64_t state;   // of the random numbers: splitmix64
    std::uint64_t stalls;  // a cycle stalls where 32 random bits are below
    std::vector<std::uint32_t> words, trace;

    Machine(double often, std::uint64_t seed) : state(seed), stalls(static_cast<std::uint64_t>(often * 4294967296.0)) {
        top.rst = 1;
        top.load_valid = top.words_ready = 0;
        for (int cycle = 0; cycle < 2; ++cycle) tick();
        top.rst = 0;
    }

    bool stalled() {
        if (!stalls) return false;
        std::uint64_t mixed = (state += 0x9e3779b97f4a7c15);
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
        return (mixed >> 32) < stalls;
    }

    void settle() {
        top.clk = 0;
        top.eval();
    }

    void tick() {
        settle();
        top.clk = 1;
        top.eval();
    }

    template <typename Port>
    static void append(std::vector<std::uint32_t>& to, const Port& port) {
        const std::size_t at = to.size();
        to.resize(at + sizeof(port) / sizeof(std::uint32_t));
        std::memcpy(&to[at], &port, sizeof(port));
    }
};

}  // namespace

extern "C" {

void* machine_new(double stalls, std::uint64_t seed) { return new Machine(stalls, seed); }

void machine_delete(void* machine) { delete static_cast<Machine*>(machine); }

// Loads the parts and collects words until the core is done. Adds to counts: cycles of the job, active, dropped.
// Returns 0, or 1 if the core sent nothing and took nothing for so many cycles.
int machine_run(void* machine, const std::uint64_t* parts, std::uint64_t number, std::uint64_t patience,
                std::uint64_t* counts) {
    Machine& m = *static_cast<Machine*>(machine);
    m.words.clear();
    m.trace.clear();
    std::uint64_t sent = 0, after = 0, idle = 0;
    bool offered = false;
    for (;;) {
        offered = offered || (sent < number && !m.stalled());
        m.top.load_valid = offered;
        if (offered) m.top.load_payload = parts[sent];
        m.top.words_ready = !m.stalled();
        m.settle();
        const bool taken = offered && m.top.load_ready;
        const bool came = m.top.words_valid && m.top.words_ready;
        if (came) Machine::append(m.words, m.top.words_payload);
        counts[0] += m.top.busy;
        counts[1] += m.top.active;
        counts[2] += m.top.dropped;
#ifdef TRACE
        if (m.top.trace_valid) Machine::append(m.trace, m.top.trace_neurons);
#endif
        if (taken) {
            ++sent;
            offered = false;
        }
        after = sent == number && !taken ? after + 1 : 0;
        idle = taken || came ? 0 : idle + 1;
        const bool done = after > 3 && m.top.load_ready;
        m.top.clk = 1;
        m.top.eval();
        if (done) return 0;
        if (idle > patience) return 1;
    }
}

// What came in the last run: all words, or the beats of the trace, one after the other; and their 32-bit words.
const std::uint32_t* machine_words(void* machine, std::uint64_t* size) {
    const Machine& m = *static_cast<Machine*>(machine);
    *size = m.words.size();
    return m.words.data();
}

const std::uint32_t* machine_trace(void* machine, std::uint64_t* size) {
    const Machine& m = *static_cast<Machine*>(machine);
    *size = m.trace.size();
    return m.trace.data();
}

}  // extern "C"
