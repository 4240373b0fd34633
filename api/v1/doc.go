// Package apiv1 is the resource model of bordergw: the messages generated from the protobuf schema, and the pure rules about
// them. Defaults (Set.SetDefaults), admission (Admit, AdmitChange), availability (Evaluate), proposals (ParseIKEProposal,
// ParseESPProposal) and tunnel MTU arithmetic (InnerMTU) do no input or output and read no clock; every program shares them,
// so that the agent, the controller and bordergwctl refuse the same manifests with the same words.
package apiv1
