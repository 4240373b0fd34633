// Package local keeps what operators change on one host beside the manifests: tunnels that are taken down, and tunnels or the whole
// host from which traffic is moved away first. Such changes are on disk before they are in force, so they outlive the agent, and end
// when an operator ends them or the tunnel leaves the manifests.
//
// [Keeper] holds the changes and carries drains from stage to stage; plans ask it with [Keeper.Of].
package local
