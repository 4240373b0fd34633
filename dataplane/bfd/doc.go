// Package bfd runs single-hop Bidirectional Forwarding Detection (RFC 5880, RFC 5881) inside tunnels: between the two inside
// addresses, through the tunnel's XFRM interface. It tells within fractions of a second that a peer is gone, which ICMP probes and
// BGP hold timers take seconds for.
//
// It is its own implementation and not the one of the BGP library, because a tunnel needs what that one (GoBGP v4.8.0) does not have:
// events; sessions that do not depend on a BGP neighbor's; a peer's AdminDown that is no failure (RFC 5882 §3.2); the check of the
// received TTL (RFC 5881 §5); jitter, the peer's own minimum interval, and the slow rate while a session is not up (RFC 5880 §6.8).
// Asynchronous mode only, without authentication and echo: the tunnel authenticates every packet.
//
// # What readers see
//
// A session that has been UP once is armed: then, and only then, its end says that the tunnel carries nothing. A peer without BFD
// leaves it DOWN for ever, which harms nobody. AdminDown from the peer, its way to say that BFD ends and nothing else, disarms.
//
// A packet that waits in the socket when the detection time ends counts as heard: a process that could not run for a moment does not
// take its own absence for the peer's.
package bfd
