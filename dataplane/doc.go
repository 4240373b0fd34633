// Package dataplane holds what drivers have in common: the contract they keep and the marks by which an object in the
// kernel or in charon is recognised as bordergw's.
//
// # The driver contract
//
//   - Apply(ctx, desired) takes the whole desired set of one BorderGateway. It is idempotent, adds before it deletes, and
//     returns what is really installed with an error for each object that could not be made so; one bad object never
//     blocks the others. Its second result is for failures of the round itself: no listing, a cancelled context.
//   - An Apply that finds nothing to do writes nothing. It decides that against a cache of what exists; whatever casts
//     doubt on the cache (an event, a lost event) drops it, and the next Apply lists again.
//   - Watch(ctx, emit) blocks until ctx ends and reports changes as hints. Any loss is reported as [Resync]: listings are
//     the facts, hints only say when to look.
//   - Sweep(ctx) removes what carries the driver's mark and belongs to no gateway applied since the process started. It
//     runs once, last at the start of day. Listings (Existing, List) give a process without memory its objects back.
//
// Drivers take desired values and an emit function. They import neither each other nor the agent.
//
// # Ownership
//
// What carries no mark is foreign: it is never changed and never deleted, and a clash with it is an error that names it.
//
//	object                  mark                                                      constants
//	VRF                     name prefix "bgwv", alias "bordergw:gateway/<name>"       dataplane/link
//	XFRM interface          name prefix "bgw", alias "bordergw:tunnel/<name>"         dataplane/link
//	attachment interface    foreign; only its master and a few sysctls are changed    dataplane/link
//	routing rule            priority 1, protocol 201; priority 2, the local rule      dataplane/link
//	nexthop, nexthop group  route protocol 201, id in a range of our own              dataplane/route
//	route                   route protocol 201, metric of our own, a VRF's table      dataplane/route, dataplane/link
//	nftables                table "bordergw", family inet                             dataplane/firewall
//	charon                  connection and secret names with the prefix "bgw-"        dataplane/charon
package dataplane

// HintKind is what a [Hint] claims.
type HintKind uint8

const (
	// Changed says that the named object differs from what the last Apply reported.
	Changed HintKind = iota + 1
	// Resync says that events may have been lost or that the kernel removes things without an event: list again.
	Resync
)

// String returns the kind as logs show it.
func (k HintKind) String() string {
	switch k {
	case Changed:
		return "changed"
	case Resync:
		return "resync"
	}
	return "unknown"
}

// Hint is one report of a driver's Watch. It carries no facts: whoever receives it calls Apply (or a listing) to learn
// them. Hints may come twice and may come for changes that were undone meanwhile.
type Hint struct {
	Kind HintKind
	// Gateway is the BorderGateway concerned; empty means every one on this host.
	Gateway string
	// Object names the tunnel or interface concerned, where one is known.
	Object string
	// Reason is a short lower-case text for the log.
	Reason string
}
