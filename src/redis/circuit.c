/* circuit: the states in which Redis is asked or left alone. Refresher. */
#include "redis/circuit.h"

#include <stddef.h>
#include <sys/random.h>

#define PROBE_LEAST ((int64_t)100 * 1000)     /* µs */
#define PROBE_MOST ((int64_t)5 * 1000 * 1000) /* µs */
#define WINDOW_MASK ((UINT32_C(1) << CIRCUIT_WINDOW) - 1)

static void change(struct circuit *circuit, enum circuit_state state);
static int64_t back_off(int probes);

const char *circuit_state_name(enum circuit_state state)
{
    static const char *const names[CIRCUIT_STATE_COUNT] = {
        [CIRCUIT_CLOSED] = "closed", [CIRCUIT_OPEN] = "open", [CIRCUIT_PROBING] = "probing"};
    INVARIANT((unsigned)state < CIRCUIT_STATE_COUNT);
    return names[state];
}

void circuit_begin(struct circuit *circuit, int64_t now)
{
    *circuit = (struct circuit){.state = CIRCUIT_OPEN, .probe_at = now};
}

bool circuit_count(struct circuit *circuit, bool failed, int64_t now)
{
    if (circuit->state != CIRCUIT_CLOSED) /* sent before it opened */
        return false;
    if (!failed) {
        circuit->proven = true;
        circuit->probes = 0;
    }
    circuit->failures = failed ? circuit->failures + 1 : 0;
    circuit->outcomes = (circuit->outcomes << 1 | (failed ? 1u : 0u)) & WINDOW_MASK;
    if (circuit->outcome_count < CIRCUIT_WINDOW)
        circuit->outcome_count++;
    bool many = circuit->outcome_count == CIRCUIT_WINDOW && __builtin_popcount(circuit->outcomes) * 2 >= CIRCUIT_WINDOW;
    if (circuit->failures < CIRCUIT_FAILURES && !many)
        return false;
    change(circuit, CIRCUIT_OPEN);
    circuit->probe_at = now + back_off(circuit->probes);
    return true;
}

void circuit_lost(struct circuit *circuit, int64_t now)
{
    INVARIANT(circuit->state == CIRCUIT_CLOSED);
    change(circuit, CIRCUIT_OPEN);
    circuit->probe_at = circuit->proven ? now : now + back_off(circuit->probes);
}

void circuit_probe(struct circuit *circuit)
{
    INVARIANT(circuit->state == CIRCUIT_OPEN);
    change(circuit, CIRCUIT_PROBING);
    circuit->probes++;
}

void circuit_probed(struct circuit *circuit, bool well, int64_t now)
{
    INVARIANT(circuit->state == CIRCUIT_PROBING);
    change(circuit, well ? CIRCUIT_CLOSED : CIRCUIT_OPEN);
    if (!well)
        circuit->probe_at = now + back_off(circuit->probes);
}

/* The only place that changes the state. */
static void change(struct circuit *circuit, enum circuit_state state)
{
    circuit->state = state;
    if (state == CIRCUIT_CLOSED) {
        circuit->failures = 0;
        circuit->outcomes = 0;
        circuit->outcome_count = 0;
        circuit->proven = false;
    }
}

/* 100 ms, doubling up to 5 s, each cut by up to half: hosts that lost Redis together do not come back together. */
static int64_t back_off(int probes)
{
    int64_t most = probes < 6 ? PROBE_LEAST << probes : PROBE_MOST;
    uint32_t number = 0;
    if (most > PROBE_MOST)
        most = PROBE_MOST;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
        number = UINT32_MAX / 2;
    return most - (int64_t)(number % (uint64_t)(most / 2));
}
