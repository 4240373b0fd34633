// Package ctl is what bordergwctl does: it asks one or more agents over their unix sockets, merges their answers, and prints them as
// tables for people or as JSON and YAML for programs. What changes something goes to the one agent that owns it.
//
// An agent knows only the tunnels of its own host. With several sockets, tunnels, gateways and routes are listed together; for
// connections the tunnels' statuses are taken from the agents that own them and the verdict is computed again over all of them. A
// socket that does not answer counts as its host being silent.
package ctl
