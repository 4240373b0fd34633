// Package hosts has the sessions with agents. An agent may have its session with any controller: everything that must outlive the
// session or be known to other controllers is in the store, and a session writes there only what changed.
package hosts
