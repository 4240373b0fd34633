// Package server is the local API (AgentService) on a unix socket, and health and metrics over TCP. Questions are answered from the
// published status.View, so no question reaches charon, netlink or BGP. What operators change goes to [Control].
package server
