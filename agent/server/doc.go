// Package server answers questions about the running agent: the local API (AgentService) on a unix socket, and health and metrics over
// TCP. It only reads the published status.View; nothing here can change a tunnel, and no request reaches charon, netlink or BGP.
package server
