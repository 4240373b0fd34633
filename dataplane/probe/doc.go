// Package probe tells whether a tunnel carries packets: it sends ICMP echo requests (RFC 792, RFC 4443 §4) from the
// inside cloud address to the inside customer address through the tunnel's XFRM interface, and judges by the answers.
// An SA can look healthy at both ends while nothing passes it; only a packet that came back proves the path.
//
// # The verdict
//
//	OFF ──────────► WAITING ──first answer──► PASSING
//	                   │                       │   ▲
//	          (mode ON)│          Failures lost│   │ RecoverAnswers answers
//	                   ▼           in a row    ▼   │
//	                   └────────────────────► FAILING
//
// An echo is lost when its answer has not come within four times the usual round-trip time, at least 100 ms and at most one
// interval. Failures lost echoes in a row make a target FAILING; the last of them is sent as much earlier, so that a target of
// whose peer nothing was heard for Failures intervals is FAILING by then.
// In mode AUTO they count only once the peer has answered since the target was armed, so a device that drops ICMP stays
// WAITING for ever and harms nobody; in mode ON they count from the start. An answer that comes late does not make its
// echo un-lost, but it proves that the peer lives: it ends the run of losses like any other answer. A path slower than
// the interval therefore loses every echo and still passes, from PASSING and from FAILING alike.
//
// Leaving FAILING takes more than entering PASSING did: [RecoverAnswers] answers, among which never two echoes in a row
// were lost. Taking traffic back too early costs packets; taking it back a second later costs nothing. Probing goes on at
// the same pace in every state.
//
// A target is armed when it is first applied, when its device or an address of it changes, when its mode changes from
// OFF, and by [Driver.Reset]. Changes of interval, of failures and between AUTO and ON keep what is known.
//
// # Cost
//
// Each target has one raw socket, one sending and one receiving goroutine. Sending and receiving allocate nothing, a
// socket filter keeps other ICMP away from the process, and the targets' phases are spread over the interval by a hash of
// the tunnel's name, so that 1,000 tunnels at 1 s are 1,000 evenly spaced small packets.
package probe
