package agent

import (
	"context"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// capabilityPatience is how long after its start the agent holds back the first reading of the desired state for what charon can do.
// Without it a host that comes up would accept first what it has to refuse a moment later.
const capabilityPatience = 5 * time.Second

// MLKEM says whether charon has ML-KEM, as it said itself when it was last connected. Soon after the start it waits for that; a charon that
// does not answer then leaves it unknown, which refuses nothing. Safe for concurrent use.
func (a *Agent) MLKEM(ctx context.Context) apiv1.Capability {
	patience := time.NewTimer(time.Until(a.started.Add(capabilityPatience)))
	defer patience.Stop()
	select {
	case <-a.charonSeen:
	case <-patience.C:
	case <-ctx.Done():
	}
	switch can, known := a.drivers.Charon.Capabilities(); {
	case !known:
		return apiv1.CapabilityUnknown
	case can.MLKEM:
		return apiv1.CapabilityPresent
	}
	return apiv1.CapabilityAbsent
}
