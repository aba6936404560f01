/* coherence: a model of src/shm for spin: one key; a worker that serves from the cache or, when a fill takes too long or
 * the refresher has been silent for too long, a body of its own; a refresher that renders, takes bodies from Redis,
 * evicts, extends, and dies between any two steps. It checks that after a body was served no older one is, to a request
 * that came later.
 *
 * Memory as in pins.pml: each variable has a store buffer of its own, a release store waits for the earlier ones of its
 * process, a fence for all of them. An atomic step touches memory once. Commits happen just before somebody looks, a
 * lapse just before the worker does: in between nobody could tell.
 *
 * `without` names what is taken out (run.sh); 0: nothing. */

#define COMMITS 2
#define REQUESTS 2
#define ACTIONS 3
#define TROUBLES 1 /* lapses and deaths together; with two there are twice as many states, and nothing new */

#define FENCE_OF_WORKER 1    /* between what it stores and its look at the intent */
#define FENCE_OF_WRITER 2    /* between the intent and its look at what workers stored */
#define LOOK_AT_INTENT 3     /* by the worker */
#define LOOK_AGAIN 4         /* by the worker, for something that can be served now */
#define TICKET 5             /* a render is published whatever workers have served since */
#define TICKET_FIRST 6       /* the ticket is taken after the statement was sent */
#define FLOOR 7              /* nothing measures what comes when the entry is gone */
#define FLOOR_FIRST 8        /* the floor is raised after the reference is stored */
#define SERVED_OF_FLOOR 9    /* a body from Redis is taken although workers have served themselves */
#define LOOK_AT_LAPSED 10    /* by the writer that extends */
#define RELEASE_OF_INTENT 11 /* the intent may be gone before the reference is seen */
#define INTENT_CLEARED 12    /* by the successor */
#define MARKED_LAPSE 13      /* the lapse that a worker uses need not be the one that it marked */

byte without;

byte committed = 1; /* bodies are called by the last commit that they show */
byte died, lapses;

/* Of the refresher, with what waits in its store buffer; 0: no entry. */
byte entry, entry_next;
bool entry_waits;
byte until = 1, until_next;
bool until_waits;
bool intent, intent_next, intent_waits;
byte floor, served_of_floor; /* the refresher alone reads them */
/* Of the worker. */
byte served, served_next;
bool served_waits;
byte lapsed, lapsed_next; /* which `until` it gave up on */
bool lapsed_waits;

#define STORE(variable, value) !variable##_waits -> variable##_next = value; variable##_waits = true
#define STORED (!entry_waits && !until_waits)

inline may_commit()
{
    if
    :: committed < COMMITS -> committed++
    :: true
    fi
}

active proctype memory()
{
end:
    do
    :: atomic { entry_waits -> entry = entry_next; entry_next = 0; entry_waits = false }
    :: atomic { until_waits -> until = until_next; until_next = 0; until_waits = false }
    :: atomic { intent_waits -> intent = intent_next; intent_next = 0; intent_waits = false }
    :: atomic { served_waits -> served = served_next; served_next = 0; served_waits = false }
    :: atomic { lapsed_waits -> lapsed = lapsed_next; lapsed_next = 0; lapsed_waits = false }
    od
}

/* ---- the worker ---- */

/* The highest that was served, to which a request that comes now is held. */
#define SERVE(version) assert(version >= shown); shown = version

/* Reads `until` and the clock. */
inline look_at_time()
{
    moment = until;
    if
    :: died + lapses < TROUBLES && moment > lapse -> lapse = moment; lapses++
    :: true
    fi
}

proctype worker()
{
    byte shown, found, own, moment, marked, count, requests;
    byte lapse; /* what was extended until here has lapsed */
request:
    atomic {
        if
        :: requests == REQUESTS -> goto over
        :: else -> requests++
        fi;
        look_at_time()
    }
    atomic {
        found = (moment > lapse -> entry : 0);
        if
        :: found != 0 -> SERVE(found); found = 0; moment = 0; goto request
        :: else
        fi
    }
    /* The fill has timed out, or everything has lapsed. */
    atomic { may_commit(); own = committed }
again:
    atomic { STORE(served, count + 1); count++ }
    atomic {
        look_at_time();
        marked = 0;
        if
        :: moment <= lapse -> STORE(lapsed, moment); marked = moment
        :: else
        fi
    }
    if
    :: atomic { without == FENCE_OF_WORKER }
    :: atomic { without != FENCE_OF_WORKER && !served_waits && !lapsed_waits }
    fi;
    if
    :: atomic { without == LOOK_AT_INTENT }
    :: atomic { without != LOOK_AT_INTENT && !intent }
    :: atomic { without != LOOK_AT_INTENT && intent -> !intent; goto again } /* tries again a little later */
    fi;
    atomic {
        look_at_time();
        if
        :: moment <= lapse && (marked == moment || without == MARKED_LAPSE) ->
            SERVE(own);
            own = 0;
            marked = 0;
            moment = 0;
            goto request
        :: moment <= lapse && marked != moment && without != MARKED_LAPSE -> goto again
        :: else
        fi
    }
    atomic {
        if
        :: entry != 0 && without != LOOK_AGAIN -> SERVE(entry)
        :: else -> SERVE(own)
        fi;
        own = 0;
        marked = 0;
        moment = 0;
        goto request
    }
over:
    skip
}

/* ---- the refresher ---- */

inline may_die()
{
    if
    :: died + lapses < TROUBLES -> died++; goto begin
    :: true
    fi
}

inline intend()
{
    atomic { STORE(intent, true); may_die() }
    if
    :: atomic { without == FENCE_OF_WRITER }
    :: atomic { without != FENCE_OF_WRITER && !intent_waits }
    fi
}

inline done()
{
    if
    :: atomic { without == RELEASE_OF_INTENT }
    :: atomic { without != RELEASE_OF_INTENT && STORED }
    fi;
    atomic { STORE(intent, false); may_die() }
}

inline raise_floor()
{
    floor = version;
    if
    :: !from_redis -> served_of_floor = ticket
    :: else
    fi
}

proctype refresher()
{
    byte ticket, version, actions;
    bool from_redis;
begin:
    /* A successor: what the dead one stored has been stored. */
    atomic { STORED && !intent_waits }
    if
    :: atomic { without == INTENT_CLEARED }
    :: atomic { without != INTENT_CLEARED -> STORE(intent, false) }
    fi;
act:
    atomic {
        version = 0;
        ticket = 0;
        from_redis = false;
        if
        :: actions == ACTIONS -> goto over
        :: else -> actions++
        fi;
        if
        :: goto render
        :: goto take_from_redis
        :: STORE(entry, 0); goto act /* evicts */
        :: goto extend
        fi
    }
render:
    if
    :: atomic { without != TICKET_FIRST -> ticket = served }
    :: atomic { without == TICKET_FIRST -> may_commit(); version = committed }
    fi;
    if
    :: atomic { without != TICKET_FIRST -> may_commit(); version = committed }
    :: atomic { without == TICKET_FIRST -> ticket = served }
    fi;
    goto publish;
take_from_redis: /* what any host rendered at any time */
    atomic {
        from_redis = true;
        may_commit();
        if
        :: version = 1
        :: committed >= 2 -> version = 2
        fi
    }
publish:
    intend();
    atomic {
        if
        :: !from_redis && ticket != served && without != TICKET -> goto refused
        :: from_redis && served_of_floor != served && without != SERVED_OF_FLOOR -> goto refused
        :: version < floor && without != FLOOR -> goto refused
        :: else
        fi;
        if
        :: without != FLOOR_FIRST -> raise_floor(); may_die()
        :: else
        fi
    }
    atomic { STORE(entry, version); may_die() }
    if
    :: atomic { without != FLOOR_FIRST }
    :: atomic { without == FLOOR_FIRST -> raise_floor() }
    fi;
refused:
    done();
    goto act;
extend: /* all changes that it has read are rendered */
    intend();
    atomic {
        if
        :: lapsed == until && without != LOOK_AT_LAPSED -> STORE(entry, 0)
        :: else
        fi;
        may_die()
    }
    STORED;
    atomic { STORE(until, until + 1); may_die() }
    done();
    goto act;
over:
    skip
}

init {
    atomic {
        c_code { now.without = getenv("WITHOUT") == NULL ? 0 : atoi(getenv("WITHOUT")); };
        run worker();
        run refresher()
    }
}
