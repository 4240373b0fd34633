// Package impact says what changes of resources may do to packets and sessions: nothing, rekey, or begin tunnels or whole connections
// anew. It is pure. Agents use it for manifests that somebody proposes, controllers for resources.
package impact
