// Package remote brings the desired state from a controller. The agent dials out, to any of several controllers, and again whenever a
// session ends; every snapshot that is accepted is kept on disk with its secrets sealed, and stays in force while no controller
// can be reached, after a start of the machine too. Upwards go the states of the host's tunnels.
package remote
