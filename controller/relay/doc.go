// Package relay asks agents for what operators want done on their hosts, whichever controller has the host's session: controllers meet in
// the store only. A call is a record there, under a lease of the controller that was asked; the controller with the session hands it to
// the agent and writes what the agent says beside it. When the caller leaves, or its controller dies, all of it vanishes and the agent is told
// that nobody waits any more. What was begun on the host goes on: it is the agent's.
package relay
