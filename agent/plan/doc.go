// Package plan turns the desired state and what is true of a host into the objects that each driver should install for one
// BorderGateway. It is pure: it reads no kernel, no clock and no file, so the same inputs always give the same plan, and a plan can be
// printed and compared before anything is done.
//
// [Build] resolves the resources of one gateway for one host. The methods of [Gateway] then give each driver's desired set; those that
// depend on what is up take a [Running].
package plan
