// Package gobgp runs the BGP speakers of package bgp on GoBGP, which no other package imports.
//
// Each gateway with at least one neighbor has its own GoBGP server, bound to the gateway's VRF device. GoBGP keeps sessions,
// policies and what is announced. Which learned routes are used is decided here: the ECMP set is computed by [bgp.Best] from the
// paths that [bgp.Neighbor.Judge] has accepted, never from GoBGP's own best path, whose rules (MED, ORIGIN, router ID, age) would let a
// customer or chance decide. GoBGP's own table has nothing learned in it: neighbors hear the speaker's announcements only, so that
// whoever applies them decides when a route is ready to be used.
//
// There may be one [Driver] in a process, because GoBGP has package variables.
package gobgp
