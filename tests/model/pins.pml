/* pins: a model of src/shm for spin: a worker that pins and reads (others would not touch what is its), a refresher that publishes and reuses segments, and the
 * death of either between any two steps. It checks that a worker never reads bytes that are being overwritten.
 *
 * Memory is weaker than any machine's in what matters here: each variable has a store buffer of its own, from which
 * stores come out in any order; a release store waits for the earlier ones, a fence for all of its process. The bytes
 * of a segment are two halves, written one after the other.
 *
 * `without` names what is taken out (run.sh); 0: nothing. */

#define SEGMENTS 2
#define LOOKUPS 2
#define PUBLISHES 4
#define DEATHS_OF_WRITER 1

#define FENCE_OF_READER 1  /* between the pin and the second look at the reference */
#define SECOND_LOOK 2      /* at the reference */
#define ACQUIRE 3          /* of the second look: the bytes may be read before it */
#define RELEASE_OF_PIN 4   /* the pin may be gone before the last byte is read */
#define FENCE_OF_WRITER 5  /* between taking a reference away and looking for pins */
#define LOOK_AT_PINS 6     /* before a segment is reused */
#define RELEASE_OF_ENTRY 7 /* the reference may be seen before the bytes */
#define CLEARED_PIN 8      /* of a dead worker, by the master */
#define SEALING 9          /* by the successor: it takes what it finds for free */

byte without;

/* The reference of the one key: segment + 1, 0: none; `next` waits in the store buffer of the refresher. */
byte reference, reference_next;
bool reference_waits;
/* What stands in a segment: the number of the body of which it is a half. */
byte first[SEGMENTS], first_next[SEGMENTS], second[SEGMENTS], second_next[SEGMENTS];
bool first_waits[SEGMENTS], second_waits[SEGMENTS];
/* Segment + 1, 0: none; waits in the store buffer of that worker. */
byte pin, pin_next;
bool pin_waits;

bool worker_killed, worker_gone;
byte writer_killed;
byte writer_died;

#define STORE(variable, value) atomic { !variable##_waits -> variable##_next = value; variable##_waits = true }
#define STORE_AT(variable, at, value) \
    atomic { !variable##_waits[at] -> variable##_next[at] = value; variable##_waits[at] = true }
#define FILLED (!first_waits[0] && !second_waits[0] && !first_waits[1] && !second_waits[1])

/* Whatever waits comes out at some time; a killed process' stores, too. */
active proctype memory()
{
end:
    do
    :: atomic { reference_waits -> reference = reference_next; reference_waits = false }
    :: atomic { first_waits[0] -> first[0] = first_next[0]; first_waits[0] = false }
    :: atomic { first_waits[1] -> first[1] = first_next[1]; first_waits[1] = false }
    :: atomic { second_waits[0] -> second[0] = second_next[0]; second_waits[0] = false }
    :: atomic { second_waits[1] -> second[1] = second_next[1]; second_waits[1] = false }
    :: atomic { pin_waits -> pin = pin_next; pin_waits = false }
    od
}

proctype worker()
{
    byte seen, again, one, other, lookups;
    {
        do
        :: lookups == LOOKUPS -> break
        :: lookups < LOOKUPS ->
            lookups++;
            seen = reference;
look_again:
            if
            :: seen == 0 -> skip
            :: else ->
                STORE(pin, seen);
                if
                :: without == FENCE_OF_READER
                :: else -> !pin_waits
                fi;
                if
                :: without == ACQUIRE -> one = first[seen - 1]; other = second[seen - 1]
                :: else
                fi;
                again = reference;
                if
                :: again != seen && without != SECOND_LOOK -> seen = again; goto look_again
                :: else
                fi;
                if
                :: without == ACQUIRE
                :: without == RELEASE_OF_PIN ->
                    one = first[seen - 1];
                    STORE(pin, 0);
                    other = second[seen - 1]
                :: else -> one = first[seen - 1]; other = second[seen - 1]
                fi;
                /* all of one body, and complete */
                assert(one == other && one != 0)
            fi;
            STORE(pin, 0)
        od
    } unless { worker_killed };
    /* the master, after waitpid: what the dead one stored has been stored */
    atomic {
        !pin_waits ->
        if
        :: without == CLEARED_PIN
        :: else -> pin = 0
        fi;
        worker_gone = true
    }
}

#define FREE 0
#define SEALED 1
#define DRAINING 2

/* Frees the draining segments that nobody pins. */
inline collect()
{
    if
    :: without == FENCE_OF_WRITER
    :: else -> !reference_waits
    fi;
    at = 0;
    do
    :: at == SEGMENTS -> break
    :: at < SEGMENTS ->
        if
        :: state[at] == DRAINING ->
            if
            :: pin == at + 1 && without != LOOK_AT_PINS
            :: else -> state[at] = FREE
            fi
        :: else
        fi;
        at++
    od
}

proctype refresher()
{
    byte state[SEGMENTS], at, live, number, publishes;
begin:
    {
        /* A successor: what the dead one stored has been stored. What the reference leads to must verify. */
        !reference_waits && FILLED;
        atomic {
            live = reference;
            assert(live == 0 || (first[live - 1] == second[live - 1] && first[live - 1] != 0));
            state[0] = (without == SEALING -> FREE : (live == 1 -> SEALED : DRAINING));
            state[1] = (without == SEALING -> FREE : (live == 2 -> SEALED : DRAINING))
        }
        do
        :: publishes == PUBLISHES -> break
        :: publishes < PUBLISHES ->
            publishes++;
            collect();
            if
            :: state[0] == FREE -> at = 0
            :: state[1] == FREE -> at = 1
            :: else -> at = SEGMENTS /* no room: it does not wait */
            fi;
            if
            :: at == SEGMENTS
            :: else ->
                number++;
                STORE_AT(first, at, number);
                STORE_AT(second, at, number);
                if
                :: without == RELEASE_OF_ENTRY
                :: else -> FILLED
                fi;
                STORE(reference, at + 1);
                if
                :: live != 0 -> state[live - 1] = DRAINING
                :: else
                fi;
                state[at] = SEALED;
                live = at + 1
            fi
        od
    } unless { writer_killed > writer_died -> writer_died++; goto begin };
    /* Everybody is gone: nothing is held for ever. */
    worker_gone;
    collect();
    assert(state[0] == FREE || state[1] == FREE)
}

active proctype killer()
{
end:
    do
    :: atomic { !worker_killed && !worker_gone -> worker_killed = true }
    :: atomic { writer_killed < DEATHS_OF_WRITER -> writer_killed++ }
    od
}

init {
    atomic {
        c_code { now.without = getenv("WITHOUT") == NULL ? 0 : atoi(getenv("WITHOUT")); };
        run worker();
        run refresher()
    }
}
