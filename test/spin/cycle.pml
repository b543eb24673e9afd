/* cycle.pml - the on-the-fly cycle as a SPIN model: barrier, quiescence, snapshots, termination.
 * WHAT   One collector that runs cycles for ever, two mutators that do anything a program may do,
 *        and a store buffer per mutator (x86-TSO). README.md says what is modelled and how far.
 * WHO    run.py makes a verifier of it for each row of its table: CONFIG switches choose what is
 *        in the world, BREAK switches each take one rule of the protocol away.
 * INV    C1 no object that is in use when the cycle turns over is white         [turn_over]
 *        C2 no run in hand is white then                                        [turn_over]
 *        C3 no store lands in an object that is not allocated                   [sb_apply]
 *        C4 between cycles: no mark, nothing grey, no shade or free left over      [collector]
 *        C5 only allocated objects are shaded                                   [shade]
 *        C6 a weak get says "gone" only of an object that the cycle found dead  [mutator]
 *        C7 between cycles everything in use is allocated                       [collector]
 * UNITS  An object is 1 … NOBJ, 0 is NULL; a set of objects is a mask with bit o-1. */

/* ---- bounds ---------------------------------------------------------------------------------- */
#ifndef NOBJ
#define NOBJ 3 /* at most 4: sets of objects are half a byte */
#endif
#ifndef SPO
#define SPO 1 /* slots per object */
#endif
#ifndef NREG
#define NREG 2 /* registers of mutator 0: its stack, as far as the collector is concerned */
#endif
#ifndef NREG1
#define NREG1 NREG /* and of mutator 1 */
#endif
#ifndef SBCAP
#define SBCAP 4 /* stores a buffer holds: one whole barriered write */
#endif
#ifndef SBLEFT
#define SBLEFT 0 /* of them may still be on their way when the next store or section begins */
#endif
#define NMUT 2

/* ---- state ----------------------------------------------------------------------------------- */
#define OFF 0
#define ARM 1
#define ROOTS 2
#define MARK 3
#define TERM 4
#define CLOSED 5
#define CLEAR 6
#define FLIP 7

#define BIT(o) ((1 << (o)) >> 1) /* of NULL: nothing */
#define ALL ((1 << NOBJ) - 1)
#define ME(m) (1 << (m))
#define NHEAP (NOBJ * SPO)
#define ROOT NHEAP /* a root that is stored to with the barrier */
#define URO (NHEAP + 1) /* CONFIG_UNBARRIERED: one that is stored to without */
#ifdef CONFIG_UNBARRIERED
#define NSLOT (NHEAP + 2)
#else
#define NSLOT (NHEAP + 1)
#endif
#ifdef CONFIG_PAIR
#define PV NSLOT /* the value of a pair in a map that is always reachable; its key is `pkey` */
#define NCELL (NSLOT + 1)
#elif defined(CONFIG_OWNED)
#define OWN NSLOT /* the one word of a range that mutator 0 owns */
#define NCELL (NSLOT + 1)
#else
#define NCELL NSLOT
#endif
#define SLOTS_OF(o) (((1 << SPO) - 1) << (((o) - 1) * SPO))

byte phase;
byte slot[NCELL]; /* memory */
byte reg[NMUT * NREG];
byte hand[NMUT]; /* the unborn object in hand */
byte alloc, mark; /* the two bitmaps */
byte unswept; /* objects of spans that were not swept since the last cycle */
byte priv[NMUT]; /* born by this mutator and not yet stored where another could find it */
byte ring[NMUT]; /* barrier buffer, as a set */
byte snap; /* what the snapshots hold, as a set */
short todo; /* grey: slots still to be scanned */
byte taken, insec; /* of mutators: snapshot taken in this cycle; inside a section (its own view) */
bit sec[NMUT]; /* the section flag, in memory */
byte sb[NMUT * SBCAP], sbn[NMUT]; /* stores on their way: where << 4 | what */
#define TO_SEC 15
#define TO_RING 14

#ifdef CONFIG_WEAK
byte weak;
#endif
#ifdef CONFIG_PAIR
byte pkey;
#endif
#ifdef CONFIG_OWNED
bit top = 1; /* the word is below it: what the collector goes by */
bit held = 1; /* the word is its owner's (nobody but the checks looks at this) */
#endif
#ifdef CONFIG_FREE
byte dfree; /* frees that wait for the end of the cycle */
#endif
#ifdef CONFIG_UNBARRIERED
byte parked;
#define PARKED(m) (parked & ME(m))
#else
#define PARKED(m) false
#endif
#ifdef CONFIG_BLOCK
#define RUNNING 0
#define BLOCKED 1
#define CLAIMED 2
byte status[NMUT];
#define IS_RUNNING(m) (status[m] == RUNNING)
#else
#define IS_RUNNING(m) true
#endif
#ifdef CONFIG_ATTACH
byte attached = 1; /* mutator 1 comes and goes */
#else
#define attached 3
#endif
#ifdef OPS0 /* operations each mutator has left, for one cycle; without them: any number, for ever */
byte nops[NMUT];
bool over; /* the cycle is */
#define MAY_SPEND(m) (nops[m] > 0)
#define SPEND(m) nops[m]--
#ifdef ENDS
#define REFUND(m) skip
#else
#define REFUND(m) nops[m]++ /* it changed nothing */
#endif
#else
#define MAY_SPEND(m) true
#define SPEND(m) skip
#endif

#define MAY_RUN(m) (!PARKED(m) && IS_RUNNING(m) && (attached & ME(m)))
/* What each mutator does: a sum of these. */
#define DROP 1
#define LOAD 2
#define BIRTH 4
#define INIT 8
#define WRITE 16
#define REFILL 32
#define WEAK 64
#define FREE 128
#define BLOCK 256
#define ATTACH 512
#define PLAIN 1024
#define PGET 2048
#define PSET 4096
#define PUSH 8192
#define POP 16384
#define GIVE 32768
#ifndef DOES0
#define DOES0 2047
#endif
#ifndef DOES1
#define DOES1 2047
#endif
#define DOES(m, what) ((m == 0 && (DOES0 & (what))) || (m == 1 && (DOES1 & (what))))

/* OP - the guard of one operation. No statement after it in its atomic step may block. */
#define OP(m, what, when) DOES(m, what) && MAY_RUN(m) && MAY_SPEND(m) && (when) -> SPEND(m)

/* ---- store buffers --------------------------------------------------------------------------- */
inline sb_push(m, where, what)
{
	d_step {
		assert(sbn[m] < SBCAP);
		sb[(m) * SBCAP + sbn[m]] = ((where) << 4) | (what);
		sbn[m]++
	}
}

/* sb_apply - the oldest store reaches memory. */
inline sb_apply(m)
{
	d_step {
		x = sb[(m) * SBCAP] >> 4;
		y = sb[(m) * SBCAP] & 15;
		if
		:: x == TO_SEC -> sec[m] = y
		:: x == TO_RING -> ring[m] = ring[m] | y
		:: else ->
			assert(x >= NHEAP || (alloc & (1 << (x / SPO)))); /* C3 */
			slot[x] = y
		fi;
		x = 1;
		do
		:: x < sbn[m] -> sb[(m) * SBCAP + x - 1] = sb[(m) * SBCAP + x]; x++
		:: else -> break
		od;
		sbn[m]--;
		sb[(m) * SBCAP + sbn[m]] = 0;
		x = 0;
		y = 0
	}
}

inline sb_drain(m)
{
	do
	:: sbn[m] > 0 -> sb_apply(m)
	:: else -> break
	od
}

/* load - what mutator m reads: its own youngest store, else memory. */
inline load(m, s, into)
{
	d_step {
		into = slot[s];
		x = 0;
		do
		:: x < sbn[m] ->
			if
			:: (sb[(m) * SBCAP + x] >> 4) == (s) -> into = sb[(m) * SBCAP + x] & 15
			:: else
			fi;
			x++
		:: else -> break
		od;
		x = 0
	}
}

/* ---- what is in use -------------------------------------------------------------------------- */
/* in_use - everything that some mutator could still come to, as a set, into `set`. */
inline in_use(set)
{
	d_step {
		set = 0;
		x = 0;
		do
		:: x < NMUT * NREG -> set = set | BIT(reg[x]); x++
		:: else -> break
		od;
		x = NHEAP;
		do
		:: x < NSLOT -> set = set | BIT(slot[x]); x++
		:: else -> break
		od;
#ifdef CONFIG_WEAK
		set = set | BIT(weak);
#endif
#ifdef CONFIG_OWNED
		set = set | (held -> BIT(slot[OWN]) : 0);
		x = 0;
		do
		:: x < NMUT * SBCAP && held ->
			if
			:: (sb[x] >> 4) == OWN -> set = set | BIT(sb[x] & 15)
			:: else
			fi;
			x++
		:: else -> break
		od;
#endif
		x = 0;
		do
		:: x < NMUT * SBCAP ->
			if
			:: (sb[x] >> 4) < NSLOT -> set = set | BIT(sb[x] & 15)
			:: else
			fi;
			x++
		:: else -> break
		od;
		y = 0;
		do
		:: y < NOBJ - 1 ->
			x = 0;
			do
			:: x < NHEAP ->
				if
				:: set & (1 << (x / SPO)) -> set = set | BIT(slot[x])
				:: else
				fi;
				x++
			:: else -> break
			od;
#ifdef CONFIG_PAIR
			x = 0;
			do
			:: x < NMUT * SBCAP && (set & BIT(pkey)) ->
				if
				:: (sb[x] >> 4) == PV -> set = set | BIT(sb[x] & 15)
				:: else
				fi;
				x++
			:: else -> break
			od;
			if
			:: set & BIT(pkey) -> set = set | BIT(slot[PV])
			:: else
			fi;
#endif
			y++
		:: else -> break
		od;
		x = 0;
		y = 0
	}
}

/* publish - v and all that its owner m reaches from it may be found by others from now on. */
inline publish(m, v)
{
	z = BIT(v) & priv[m];
	do
	:: z != 0 ->
		priv[m] = priv[m] & ~z;
		w = 0;
		y = 0;
		do
		:: y < NHEAP ->
			if
			:: z & (1 << (y / SPO)) -> load(m, y, u); w = w | BIT(u)
			:: else
			fi;
			y++
		:: else -> break
		od;
		z = w & priv[m]
	:: else -> break
	od;
	w = 0;
	y = 0;
	u = 0
}

/* stored - v goes to slot s: published, unless s lies in an object that is private itself. */
inline stored(m, s, v)
{
	if
	:: (s) < NHEAP && (priv[m] & (1 << ((s) / SPO)))
	:: else -> publish(m, v)
	fi
}

/* ---- collector's shade ----------------------------------------------------------------------- */
inline shade(set)
{
	d_step {
		z = (set) & ~mark;
		assert((z & ~alloc) == 0); /* C5 */
		mark = mark | z;
		x = 1;
		do
		:: x <= NOBJ ->
			if
			:: z & BIT(x) -> todo = todo | SLOTS_OF(x)
			:: else
			fi;
			x++
		:: else -> break
		od;
		x = 0;
		z = 0
	}
}

/* ---- mutators -------------------------------------------------------------------------------- */
#define R0 reg[m * NREG]
#define R1 reg[m * NREG + 1]
#if NREG > 1
#define HAS_R1 (m == 0 || NREG1 > 1)
#define SAME_R1(v) (!HAS_R1 || R1 == (v))
#else
#define SAME_R1(v) true
#endif

#if NREG > 1
#define HOLDS(m, set) ((BIT(R0) | BIT(R1)) & (set))
#else
#define HOLDS(m, set) (BIT(R0) & (set))
#endif

/* pick_reg - any register's value; put_reg - into any register. */
inline pick_reg(value)
{
	if
	:: value = R0
#if NREG > 1
	:: HAS_R1 -> value = R1
#endif
	fi
}

inline put_reg(value)
{
	if
	:: R0 = value
#if NREG > 1
	:: HAS_R1 -> R1 = value
#endif
	fi
}

/* pick_slot - any slot of an object of this set that is in a register; `other` if there is none. */
inline pick_slot(set, other)
{
	if
	:: BIT(R0) & (set) -> s = (R0 - 1) * SPO
#if NREG > 1
	:: BIT(R1) & (set) -> s = (R1 - 1) * SPO
#endif
	:: !HOLDS(m, set) -> s = other
	fi;
#if SPO > 1
	if
	:: true
	:: s < NHEAP -> s++
	fi
#endif
}

inline enter()
{
	sb_push(m, TO_SEC, 1);
	insec = insec | ME(m);
	ph = phase
}

inline leave()
{
	sb_push(m, TO_SEC, 0);
	insec = insec & ~ME(m);
	ph = 0;
	s = 0;
	v = 0;
	u = 0
}

/* in_cycle - a section that read this phase must shade. In CLEAR and FLIP all that a mutator can
 * see is marked, and in FLIP the marks may be gone before the section ends. */
#ifdef BREAK_SHADE_IN_FLIP
#define SHADES(ph) ((ph) != OFF)
#else
#define SHADES(ph) ((ph) >= ARM && (ph) <= CLOSED)
#endif

/* shade_mine - by way of the ring; u becomes what was unmarked. */
inline shade_mine(set)
{
	u = (set) & ~mark;
	if
	:: u != 0 -> sb_push(m, TO_RING, u)
	:: else
	fi
}

/* reopen - an unmarked object was pushed in TERM: the collector must look again. */
inline reopen()
{
	sb_drain(m);
	if
	:: phase == TERM -> phase = MARK
	:: else
	fi;
	u = 0
}

#ifdef BREAK_SHADE_OLD
#define OLD(o) 0
#else
#define OLD(o) BIT(o)
#endif
#if defined(BREAK_SHADE_NEW_ROOTS)
#define NEW(o) (BIT(o) * (ph >= MARK))
#elif defined(TRY_DROP_NEW_IN_MARK)
#define NEW(o) (BIT(o) * (ph < MARK))
#elif defined(BREAK_SHADE_NEW)
#define NEW(o) 0
#else
#define NEW(o) BIT(o)
#endif

#ifdef BREAK_BIRTH_WHITE
#define BLACK(m, ph) false
#elif defined(BREAK_BIRTH_BLACK_EARLY)
#define BLACK(m, ph) ((ph) != OFF)
#else
#define BLACK(m, ph) ((ph) != OFF && (taken & ME(m)))
#endif

proctype mutator(byte m)
{
	byte ph, s, v; /* of the section */
	byte u, w, x, y, z; /* only inside one atomic step */
end:	do
	/* ordinary code: no section, no barrier */
	:: atomic { OP(m, DROP, R0 != 0); R0 = 0 }
#if NREG > 1
	:: atomic { OP(m, DROP, R1 != 0); R1 = 0 }
#endif
	:: atomic { OP(m, LOAD, true);
		if
		:: s = ROOT
#ifdef CONFIG_UNBARRIERED
		:: s = URO
#endif
		:: pick_slot(ALL, ROOT)
		fi;
		load(m, s, v);
		assert((BIT(v) & priv[1 - m]) == 0); /* else the model's "private" is not */
#ifdef OPS0
		if
		:: v == R0 && SAME_R1(v) -> REFUND(m)
		:: else
		fi;
#endif
		put_reg(v);
		s = 0;
		v = 0
	}
	:: atomic { OP(m, BIRTH, hand[m] != 0); /* birth: the cursor of the run moves */
		priv[m] = priv[m] | BIT(hand[m]);
		put_reg(hand[m]);
		hand[m] = 0
	}
	:: atomic { OP(m, INIT, HOLDS(m, priv[m]) && sbn[m] <= SBLEFT); /* a constructor: plain stores */
		pick_slot(priv[m], 0);
		pick_reg(v);
		sb_push(m, s, v);
		s = 0;
		v = 0
	}
#ifdef CONFIG_UNBARRIERED
	:: atomic { OP(m, PLAIN, sbn[m] <= SBLEFT);
		if
		:: v = 0
		:: pick_reg(v)
		fi;
		publish(m, v);
		sb_push(m, URO, v);
		v = 0
	}
#endif

#ifdef CONFIG_OWNED
	/* a push moves a register's value, a pop moves it back; a signal may come between their two stores */
	:: atomic { OP(m, PUSH, !held && !top && R0 != 0 && sbn[m] <= SBLEFT);
#ifdef BREAK_PUSH_LATE
		sb_push(m, OWN, R0);
		held = 1;
		R0 = 0
#else
		top = 1
#endif
	}
	atomic { sbn[m] < SBCAP ->
#ifdef BREAK_PUSH_LATE
		top = 1
#else
		sb_push(m, OWN, R0);
		held = 1;
		R0 = 0
#endif
	}
	:: atomic { OP(m, POP, held && top);
#ifdef BREAK_POP_EARLY
		top = 0
#else
		load(m, OWN, v);
		put_reg(v);
		held = 0;
		v = 0
#endif
	}
	atomic {
#ifdef BREAK_POP_EARLY
		load(m, OWN, v);
		put_reg(v);
		held = 0;
		v = 0
#else
		top = 0
#endif
	}
#ifdef BREAK_GIVE_PLAIN
	:: atomic { OP(m, GIVE, held && sbn[m] <= SBLEFT); publish(m, R0); sb_push(m, OWN, R0) }
#endif
#ifdef BREAK_OWNED_TAKEN /* another thread reads it */
	:: atomic { OP(m, GIVE, held); load(m, OWN, v); put_reg(v); v = 0 }
#endif
#endif

	/* mgc_write */
	:: atomic { OP(m, WRITE, sbn[m] <= SBLEFT);
		if
		:: s = ROOT
		:: pick_slot(ALL, ROOT)
#ifdef CONFIG_PAIR
		:: DOES(m, PSET) && pkey != 0 && R0 == pkey -> s = PV /* another value, or none */
#endif
#ifdef CONFIG_OWNED
		:: DOES(m, GIVE) && held -> s = OWN /* of the other thread */
#endif
		fi;
		if
		:: v = 0
		:: pick_reg(v)
		fi;
		enter();
		if
		:: SHADES(ph)
		:: else -> goto store
		fi
	}
	atomic { sbn[m] < SBCAP ->
		load(m, s, w);
#if defined(BREAK_PAIR_SHADES) || defined(TRY_PAIR_OLD_UNSHADED)
		w = (s == PV -> 0 : w);
#endif
		shade_mine(OLD(w) | NEW(v));
		w = 0;
		if
		:: ph == TERM && u != 0
		:: else -> u = 0; goto store
		fi
	}
	atomic { reopen() }
store:	atomic { sbn[m] + 2 <= SBCAP ->
		stored(m, s, v);
		sb_push(m, s, v);
		leave()
	}

	/* refill: one free slot becomes the run */
	:: atomic { OP(m, REFILL, hand[m] == 0 && (alloc | unswept) != ALL && sbn[m] <= SBLEFT);
		enter();
		s = BLACK(m, ph)
	}
	atomic { sbn[m] < SBCAP ->
		if
#ifndef BREAK_REFILL_IN_FLIP
		:: ph == FLIP -> skip /* leave, wait, try again */
#endif
		:: else ->
			sb_drain(m); /* a lock was taken */
			v = 1;
			do
			:: v <= NOBJ && ((alloc | unswept) & BIT(v)) -> v++
			:: else -> break
			od;
			if
			:: v <= NOBJ ->
				x = 0;
				do
				:: x < SPO -> slot[(v - 1) * SPO + x] = 0; x++
				:: else -> break
				od;
				x = 0;
				if
				:: s -> mark = mark | BIT(v)
				:: else
				fi;
				alloc = alloc | BIT(v);
				hand[m] = v
			:: else
			fi
		fi;
		leave()
	}

#ifdef CONFIG_WEAK
	/* make a weak reference; get it */
	:: atomic { OP(m, WEAK, weak == 0 && R0 != 0); weak = R0; publish(m, weak) }
	:: atomic { OP(m, WEAK, weak != 0 && sbn[m] <= SBLEFT); enter() }
	atomic { sbn[m] + 2 <= SBCAP ->
		v = weak;
		if
		:: ph == OFF
#ifndef BREAK_WEAK_IN_FLIP
		:: ph == FLIP
#else
		:: ph == FLIP && (BIT(v) & mark)
		:: ph == FLIP && (BIT(v) & ~mark) -> assert(v != weak); v = 0 /* C6 */
#endif
		:: ph >= ARM && ph <= TERM ->
#ifdef BREAK_WEAK_SHADE
			skip
#else
			shade_mine(BIT(v))
#endif
		:: ph == CLOSED ->
			if
			:: BIT(v) & ~mark -> goto unweak /* leave, wait, try again */
			:: else
			fi
		:: ph == CLEAR ->
			if
			:: BIT(v) & ~mark -> v = 0
			:: else
			fi
		fi;
		if
		:: ph == TERM && u != 0
		:: else -> u = 0; goto unweak1
		fi
	}
	atomic { reopen() }
unweak1:
	atomic { sbn[m] < SBCAP -> R0 = v; leave() }
	goto end;
unweak:	atomic { sbn[m] < SBCAP -> leave() }
#endif

#ifdef CONFIG_PAIR
	/* get the value, having the key */
	:: atomic { OP(m, PGET, pkey != 0 && R0 == pkey && sbn[m] <= SBLEFT); enter() }
	atomic { sbn[m] + 2 <= SBCAP ->
		load(m, PV, v);
#if !defined(BREAK_PAIR_SHADES) && !defined(TRY_PAIR_GET_UNSHADED)
		if
		:: SHADES(ph) -> shade_mine(BIT(v))
		:: else
		fi;
#endif
		if
		:: ph == TERM && u != 0
		:: else -> u = 0; goto got
		fi
	}
	atomic { reopen() }
got:	atomic { sbn[m] < SBCAP -> put_reg(v); leave() }
#endif

#ifdef CONFIG_FREE
	/* mgc_free of an object that nothing else refers to */
	:: atomic { OP(m, FREE, R0 != 0 && sbn[m] <= SBLEFT);
		v = R0;
		R0 = 0;
		in_use(z);
		if
		:: z & BIT(v) -> R0 = v; v = 0; z = 0; goto end
		:: else -> z = 0; enter()
		fi
	}
	atomic { sbn[m] < SBCAP ->
		if
#ifndef BREAK_FREE_IN_FLIP
		:: ph == FLIP -> R0 = v /* leave, wait, try again */
#endif
		:: ph == OFF ->
			sb_drain(m);
			alloc = alloc & ~BIT(v);
			priv[m] = priv[m] & ~BIT(v)
		:: else -> dfree = dfree | BIT(v); priv[m] = priv[m] & ~BIT(v)
		fi;
		leave()
	}
#endif

#ifdef CONFIG_BLOCK
	:: atomic { OP(m, BLOCK, true); sb_drain(m); status[m] = BLOCKED }
	:: atomic { status[m] == BLOCKED -> status[m] = RUNNING } /* waits out CLAIMED */
#endif

#ifdef CONFIG_ATTACH
	:: atomic { m == 1 && !(attached & ME(1)) && MAY_SPEND(m) && phase <= TERM -> SPEND(m);
		attached = attached | ME(1);
		taken = taken & ~ME(1);
		if
#ifdef BREAK_ATTACH_WHITE
		:: false
#else
		:: phase == MARK || phase == TERM -> taken = taken | ME(1) /* nothing in its registers */
#endif
		:: else
		fi
	}
	:: atomic { OP(m, ATTACH, m == 1);
		sb_drain(m);
		R0 = 0;
#if NREG > 1
		R1 = 0;
#endif
		hand[m] = 0;
		priv[m] = 0;
		attached = attached & ~ME(1)
	}
#endif
	od
}

/* hardware - buffered stores reach memory when they like. Only what somebody can tell apart: that a
 * section has begun or ended shows in `sec` alone, and nobody does more with it than wait, so the
 * first is applied as late as can be (with the next store, or by a barrier) and the second at once. */
#define WAITING(m) (sbn[m] > 1 || sbn[m] == 1 && sb[(m) * SBCAP] != (TO_SEC << 4 | 1))

inline sb_flush(m)
{
	do
	:: sb[(m) * SBCAP] == (TO_SEC << 4 | 1) -> sb_apply(m)
	:: else -> break
	od;
	sb_apply(m);
	if
	:: sbn[m] > 0 && sb[(m) * SBCAP] == TO_SEC << 4 -> sb_apply(m)
	:: else
	fi
}

proctype hardware()
{
	byte x, y;
end:	do
	:: atomic { WAITING(0) -> sb_flush(0) }
	:: atomic { WAITING(1) -> sb_flush(1) }
	od
}

/* ---- the collector --------------------------------------------------------------------------- */
/* quiesce - Q: a full barrier on every processor, then each section flag seen at 0 once. */
inline quiesce()
{
#ifndef BREAK_MEMBARRIER
	atomic { sb_drain(0) };
	atomic { sb_drain(1) };
#endif
#ifndef BREAK_SEC
	sec[0] == 0;
	sec[1] == 0;
#endif
	skip
}

inline drain_rings()
{
	atomic { shade(ring[0]); ring[0] = 0 };
	atomic { shade(ring[1]); ring[1] = 0 }
}

/* take - mutator m's own signal handler, or a poll: not inside a section. */
inline take(m)
{
	sb_drain(m);
	snap = snap | BIT(reg[(m) * NREG]);
#if NREG > 1
	snap = snap | BIT(reg[(m) * NREG + 1]);
#endif
	take_owned(m);
	taken_now(m)
}

/* take_owned - what a snapshot has of the range beside registers. The word may be from before the push. */
inline take_owned(m)
{
#ifdef CONFIG_OWNED
#ifndef BREAK_OWNED_LATE
	if
	:: (m) == 0 && top -> snap = snap | (BIT(slot[OWN]) & alloc)
	:: else
	fi;
#endif
#endif
	skip
}

inline taken_now(m)
{
#ifndef BREAK_BIRTH_WHITE
	mark = mark | BIT(hand[m]);
#endif
#ifdef CONFIG_UNBARRIERED
#ifndef BREAK_STOP
	parked = parked | ME(m);
#endif
#endif
	taken = taken | ME(m)
}

#define NOT_TAKEN(m) ((attached & ME(m)) && !(taken & ME(m)))

#ifdef CONFIG_BLOCK
/* take_blocked - on behalf of a thread that waits: one word after the other. */
inline take_blocked(m)
{
	snap = snap | BIT(reg[(m) * NREG]);
#if NREG > 1
	snap = snap | BIT(reg[(m) * NREG + 1]);
#endif
#ifdef CONFIG_OWNED
	atomic { take_owned(m) };
#endif
	atomic {
		taken_now(m);
#ifndef BREAK_CLAIM
		status[m] = BLOCKED
#endif
	}
}
#ifdef BREAK_CLAIM
#define CLAIM(m) skip
#else
#define CLAIM(m) status[m] = CLAIMED
#endif
#endif

inline scan_some()
{
	x = 0;
	do
	:: x < NSLOT && !(todo & (1 << x)) -> x++
	:: x < NSLOT && (todo & (1 << x)) -> break
	:: x < NSLOT && (todo & ~((2 << x) - 1)) -> x++ /* any of them may be next */
	od;
	todo = todo & ~(1 << x);
	w = slot[x];
	shade(BIT(w));
	w = 0
}

/* turn_over - the moment after which white objects are swept. */
inline turn_over()
{
	in_use(w);
	assert((w & ~mark) == 0); /* C1 */
	assert(((BIT(hand[0]) | BIT(hand[1])) & ~mark) == 0); /* C2 */
	w = 0;
	unswept = ALL;
	taken = 0; /* it is the number of a cycle that is over */
	phase = OFF
}

proctype collector()
{
	byte w, x, y, z;
end:	do
	:: atomic { true;
		assert(mark == 0 && todo == 0 && snap == 0 && ring[0] == 0 && ring[1] == 0); /* C4 */
#ifdef CONFIG_FREE
		assert(dfree == 0); /* C4 */
#endif
#ifndef CONFIG_SHORT
		in_use(w);
		assert((w & ~alloc) == 0); /* C7 */
		w = 0;
#endif
#ifdef OPS0
		if
		:: over -> break
		:: else -> over = true
		fi;
#endif
		phase = ARM
	}
	quiesce();
	phase = ROOTS;
#ifndef BREAK_ONE_Q
	quiesce(); /* a section that overlapped one that read OFF is over, too */
#endif
	do
	:: atomic { NOT_TAKEN(0) && IS_RUNNING(0) && !(insec & ME(0)) -> take(0) }
	:: atomic { NOT_TAKEN(1) && IS_RUNNING(1) && !(insec & ME(1)) -> take(1) }
#ifdef CONFIG_BLOCK
	:: atomic { NOT_TAKEN(0) && status[0] == BLOCKED -> CLAIM(0) } take_blocked(0)
	:: atomic { NOT_TAKEN(1) && status[1] == BLOCKED -> CLAIM(1) } take_blocked(1)
#endif
#ifdef BREAK_EARLY_MARK
	:: atomic { taken != 0 && (snap | ring[0] | ring[1]) != 0 ->
		shade(snap | ring[0] | ring[1]);
		snap = 0;
		ring[0] = 0;
		ring[1] = 0
	}
	:: atomic { todo != 0 -> scan_some() }
#endif
	:: atomic { !NOT_TAKEN(0) && !NOT_TAKEN(1) -> /* under the registry lock */
#ifdef CONFIG_UNBARRIERED
#ifdef BREAK_STOP
		todo = todo | 1 << URO;
#else
		snap = snap | BIT(slot[URO]);
		parked = 0;
#endif
#endif
		phase = MARK;
		todo = todo | 1 << ROOT;
		shade(snap);
		snap = 0;
#ifdef BREAK_OWNED_LATE /* with the roots */
		if
		:: top -> shade(BIT(slot[OWN]) & alloc)
		:: else
		fi;
#endif
		break
	}
	od;
marking:
	do
	:: atomic { todo != 0 -> scan_some() }
	:: todo == 0 -> break
	od;
#ifdef CONFIG_PAIR
#ifndef BREAK_PAIR_PASS
	atomic {
		if
		:: (mark & BIT(pkey)) && (BIT(slot[PV]) & ~mark) -> shade(BIT(slot[PV])); goto marking
		:: else
		fi
	}
#endif
#endif
#ifdef BREAK_TERM
	/* one look at the rings instead of TERM and its Q */
	drain_rings();
	if
	:: todo != 0 -> goto marking
	:: else
	fi;
	phase = CLOSED;
#else
	phase = TERM;
	quiesce();
	drain_rings();
	atomic {
		if
		:: todo == 0 && phase == TERM -> phase = CLOSED
		:: else -> phase = MARK; goto marking
		fi
	}
#ifndef BREAK_SECOND_DRAIN
	quiesce();
	drain_rings();
	if
	:: todo != 0 -> phase = MARK; goto marking
	:: else
	fi;
#endif
#endif
	phase = CLEAR;
#ifdef CONFIG_SHORT
	atomic { /* what follows is checked by other configurations */
		in_use(w);
		assert((w & ~mark) == 0); /* C1 */
		assert(((BIT(hand[0]) | BIT(hand[1])) & ~mark) == 0); /* C2 */
		w = 0;
		nops[0] = 0;
		nops[1] = 0;
		break
	};
#endif
#ifdef BREAK_SECOND_DRAIN
	ring[0] = 0;
	ring[1] = 0;
#endif
#ifdef CONFIG_WEAK
	atomic {
		if
		:: BIT(weak) & ~mark -> weak = 0
		:: else
		fi
	}
	quiesce();
#endif
#ifdef CONFIG_PAIR
	atomic {
		if
		:: BIT(pkey) & ~mark -> pkey = 0; slot[PV] = 0
		:: else
		fi
	}
#endif
	phase = FLIP;
	quiesce();
#ifdef CONFIG_FREE
#ifndef BREAK_DFREE_LATE
	atomic { mark = mark & ~dfree; dfree = 0 };
#endif
#endif
	atomic { turn_over(); w = 1 };
	do
	:: atomic { w <= NOBJ ->
		if
		:: mark & BIT(w) -> mark = mark & ~BIT(w) /* and alloc stays as it is */
		:: else ->
			alloc = alloc & ~BIT(w);
			priv[0] = priv[0] & alloc;
			priv[1] = priv[1] & alloc
		fi;
		unswept = unswept & ~BIT(w);
		w++
	}
	:: atomic { w > NOBJ -> w = 0; break }
	od
#ifdef BREAK_DFREE_LATE
	;
	atomic { alloc = alloc & ~dfree; dfree = 0 }
#endif
	od
}

/* some - any of: nothing, the objects 1 and 2. */
inline some(it)
{
	if
	:: it = 0
	:: it = 1
#if NOBJ > 2
	:: it = 2
#endif
	fi
}

init
{
	atomic {
#ifdef OPS0
		nops[0] = OPS0;
		nops[1] = OPS1;
		/* a few heaps: root, 1 and 2 in a chain or not; anything in the registers; the last
		 * object is in somebody's hand or free */
		alloc = ALL;
		some(slot[ROOT]);
#ifdef CONFIG_WEAK
		weak = 1;
#endif
#ifdef CONFIG_PAIR
		pkey = 1;
		slot[PV] = 2;
#endif
#ifdef CONFIG_UNBARRIERED
		some(slot[URO]);
#endif
#ifdef CONFIG_OWNED
		some(slot[OWN]);
#endif
		some(reg[0]);
#if OPS1 > 0 && !defined(CONFIG_ATTACH)
		some(reg[NREG]);
#endif
#if NOBJ > 1
		if
#if NOBJ > 2
		:: slot[0] = 2
#endif
		:: true
		fi;
		if
		:: DOES0 & BIRTH -> hand[0] = NOBJ
		:: (DOES1 & BIRTH) && !(DOES1 & ATTACH) && OPS1 > 0 -> hand[1] = NOBJ
		:: (DOES0 | DOES1) & REFILL -> alloc = ALL >> 1
		:: else
		fi;
#if NOBJ > 2
		if
		:: DOES0 & BIRTH && DOES0 & INIT -> hand[1] = 0; hand[0] = 3
		:: else
		fi;
#endif
#endif
#endif
		run mutator(0);
		run mutator(1);
		run hardware();
		run collector()
	}
}
