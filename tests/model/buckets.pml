/* buckets: a model of src/shm/buckets.c for spin: workers that take from the bucket of one key, and others that take
 * words of the same set for theirs, with clocks that were read at different moments. It checks that a bucket of one
 * request gives one, though two find that there is none yet.
 *
 * Words are looked at in any order, as relaxed loads may be; each one is swapped as a whole. `without` names what is
 * taken out (run.sh); 0: nothing. */

#define WORDS 2
/* Between two requests; later than any clock here. */
#define GAP 5

#define LOWEST 1    /* of all words: without it, the first that is full */
#define TIES 2      /* of equals the first: without it, any */
#define SWAP 3      /* only of what was seen there: without it, a plain store */
#define FULL 4      /* is what another key may have: without it, the lowest in any case */
#define OWN_FIRST 5 /* the word of one's key: without it, another one may be taken for it */

#define NOBODY 0
#define MINE 1

byte without;

/* Whose bucket a word is, and when it is full again. */
byte owner[WORDS], due[WORDS];
byte admitted;

#define ALL_LOOKED (looked[0] && looked[1])
#define LOOK(at) atomic { !looked[at] -> saw_owner[at] = owner[at]; saw_due[at] = due[at]; looked[at] = true }
/* Ready for another look; locals that mean nothing any more are the same in all states. */
#define LOOK_NO_MORE d_step { looked[0] = false; looked[1] = false; saw_owner[0] = 0; saw_owner[1] = 0; \
                              saw_due[0] = 0; saw_due[1] = 0; place = 0; own = false; swapped = false }

/* Which word it shall be, by what was seen. */
#define CHOOSE(key) \
    if \
    :: without != OWN_FIRST && saw_owner[0] == key -> own = true; place = 0 \
    :: without != OWN_FIRST && saw_owner[0] != key && saw_owner[1] == key -> own = true; place = 1 \
    :: else -> own = false; \
        if \
        :: without == LOWEST -> place = (saw_due[0] > now && saw_due[1] <= now -> 1 : 0) \
        :: without == TIES && saw_due[0] == saw_due[1] -> \
            if \
            :: place = 0 \
            :: place = 1 \
            fi \
        :: without != LOWEST && (without != TIES || saw_due[0] != saw_due[1]) -> \
            place = (saw_due[1] < saw_due[0] -> 1 : 0) \
        fi \
    fi

/* Refused, or admitted without being counted. */
#define NOTHING_TO_TAKE (saw_due[place] > now && (own || without != FULL))

proctype take()
{
    byte now, place, saw_owner[WORDS], saw_due[WORDS];
    bool looked[WORDS], own, swapped;

    if
    :: now = 2
    :: now = 3
    fi
    do
    :: true ->
        do
        :: LOOK(0)
        :: LOOK(1)
        :: ALL_LOOKED -> break
        od;
        atomic {
            CHOOSE(MINE);
            if
            :: NOTHING_TO_TAKE -> LOOK_NO_MORE; break
            :: else
            fi
        }
        atomic {
            swapped = without == SWAP || (owner[place] == saw_owner[place] && due[place] == saw_due[place]);
            if
            :: swapped ->
                owner[place] = MINE; due[place] = now + GAP; admitted++;
                assert(admitted <= 1);
                LOOK_NO_MORE;
                break
            :: else -> LOOK_NO_MORE
            fi
        }
    od
}

/* Somebody with another key. In one go: what was the lowest when it was looked for and has not changed is still the
 * lowest, as the others have only grown. */
proctype stranger(byte key)
{
    byte now, place, saw_owner[WORDS], saw_due[WORDS];
    bool own;

    atomic {
        if
        :: now = 2
        :: now = 3
        fi;
        saw_owner[0] = owner[0]; saw_owner[1] = owner[1]; saw_due[0] = due[0]; saw_due[1] = due[1];
        CHOOSE(key);
        if
        :: NOTHING_TO_TAKE
        :: else -> owner[place] = key; due[place] = now + GAP
        fi
    }
}

init
{
    byte at = 0;
    atomic {
        c_code { now.without = getenv("WITHOUT") == NULL ? 0 : atoi(getenv("WITHOUT")); };
        do
        :: at < WORDS ->
            if
            :: due[at] = 1
            :: due[at] = 2
            :: due[at] = 3
            fi;
            if
            :: at == 0 -> owner[at] = MINE
            :: owner[at] = NOBODY
            fi;
            at++
        :: else -> break
        od;
        run take(); run take(); run stranger(MINE + 1); run stranger(MINE + 2)
    }
}
