// Package bgp is the vocabulary between the agent and its BGP speakers: what a speaker of one BorderGateway should be, what its
// sessions are, and which routes it has learned. Everything here is plain values and pure functions; bgp/gobgp makes it real.
//
// One BorderGateway has at most one [Speaker] per host, in that gateway's VRF. Two gateways may use the same addresses and
// prefixes: nothing in this package compares across gateways.
package bgp
