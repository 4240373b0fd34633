// Package charon drives strongSwan's IKE daemon over its VICI socket: one connection, one CHILD_SA configuration and one
// pre-shared key per tunnel, all three named "bgw-" and the tunnel's name.
//
// charon is told to start nothing by itself (start_action, close_action and dpd_action are off). The driver's keeper initiates
// tunnels that should be kept up, one attempt at a time per tunnel, and what is true of a tunnel is the set of its installed
// CHILD_SAs, keyed by their unique id: updown booleans of charon cannot be counted on when SAs are re-authenticated, rekeyed
// at the same time by both ends, or replaced.
//
// Anything in charon without the name prefix is foreign: it is neither changed, nor listed, nor terminated.
package charon
