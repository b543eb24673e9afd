/* usdt.h - static probes for perf, bpftrace, gdb and SystemTap: a nop, and a note that says where it is and
 * where its two arguments are.
 * WHO    slow ways only.  COST a nop, and what it takes to have the arguments at hand.
 * UNITS  each probe's arguments are 8 bytes, unsigned.
 * FROM   the format: SystemTap's wiki, "UserSpaceProbeImplementation". */
#ifndef MGC_BASE_USDT_H
#define MGC_BASE_USDT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>

/* MGC_PROBE - `bpftrace -e 'usdt:LIBRARY:mallocgc:NAME { print(arg0) }'`. */
#define MGC_PROBE(name, arg0, arg1) \
	__asm__ volatile( \
		"990: nop\n" \
		".pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n" \
		".long 992f-991f, 994f-993f, 3\n" \
		"991: .asciz \"stapsdt\"\n992: .balign 4\n" \
		"993: .quad 990b, _.stapsdt.base, 0\n" \
		".asciz \"mallocgc\"\n.asciz \"" #name "\"\n.asciz \"8@%0 8@%1\"\n" \
		"994: .balign 4\n.popsection\n" \
		".ifndef _.stapsdt.base\n" \
		".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
		".weak _.stapsdt.base\n.hidden _.stapsdt.base\n" \
		"_.stapsdt.base: .space 1\n.size _.stapsdt.base, 1\n.popsection\n.endif\n" \
		: \
		: "r"((uint64_t)(arg0)), "r"((uint64_t)(arg1)))

#endif
