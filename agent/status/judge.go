package status

import (
	"errors"
	"fmt"
	"strings"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/firewall"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// Layers is what the drivers know of one tunnel, from the operator's wish down to the probe.
type Layers struct {
	AdminUp bool
	// Local is what an operator changed on this host, nil for nothing; AdminUp takes it into account.
	Local *apiv1.LocalChange
	// Initiate is false where the tunnel waits for the customer.
	Initiate bool
	Charon   charon.State
	// KernelCarries says that the kernel has SAs of the tunnel in both directions. It is asked for only while charon cannot tell.
	KernelCarries bool
	// Interface is the XFRM interface as the link driver last reported it, InterfaceErr why it is not as wanted.
	Interface    link.InterfaceState
	InterfaceErr error
	Probe        probe.State
	// BFD is the BFD session; its zero value where none is wanted.
	BFD bfd.State
	// BGPWanted is the routing mode; BGP the session, nil while there is none.
	BGPWanted bool
	BGP       *bgp.Session
	// Wire is the encrypted traffic, nil where it is not measured.
	Wire *firewall.Traffic
	// Errors are packets that the kernel dropped, nil where they are not counted.
	Errors *link.Errors
}

// withoutSAs is what the layers were after the last CHILD_SA had gone and before the next one came.
func (l Layers) withoutSAs() Layers {
	l.Charon.Children, l.Charon.IKE, l.KernelCarries = nil, charon.IKEDown, false
	return l
}

// CharonHold is how long a tunnel that was up counts as up while charon does not answer, and again while a charon that came back
// without memory negotiates anew, as long as the kernel has its SAs: packets go on with them. A probe tells in the meantime if the
// peer is gone.
const CharonHold = 10 * time.Second

// Past is what is remembered of a tunnel.
type Past struct {
	// Up is the running state so far, LastUp when the tunnel last came up.
	Up     bool
	LastUp time.Time
}

// Judgement is whether a tunnel runs, and if not, why.
type Judgement struct {
	Up bool
	// Reason is a word of apiv1.TunnelReasons, Message one sentence for people; both empty when Up.
	Reason, Message string
}

func down(reason, format string, args ...any) Judgement {
	return Judgement{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Judge decides the running state: admin is UP, at least one CHILD_SA is installed, its interface is up, and an armed probe passes.
// The first layer that is not well gives the reason. BGP does not take part. Failures from before the tunnel last came up explain
// nothing any more.
func Judge(l Layers, past Past, now time.Time) Judgement {
	held := Held(l, past, now)
	switch {
	case !l.AdminUp && apiv1.LocallyDown(l.Local):
		return down(apiv1.ReasonAdminDown, "%s on this host by %s", strings.ToLower(l.Local.GetState()), l.Local.GetBy())
	case !l.AdminUp:
		return down(apiv1.ReasonAdminDown, "adminState is DOWN")
	case !l.Charon.Connected && !held:
		return down(apiv1.ReasonCharonUnavailable, "charon does not answer since %s", l.Charon.Since.UTC().Format(time.RFC3339))
	case l.Charon.LoadError != "" && !l.Charon.Up():
		return down(apiv1.ReasonCharonRefused, "charon refused the configuration: %s", l.Charon.LoadError)
	case !l.Charon.Up() && !held:
		return judgeNegotiation(l, past.LastUp)
	case errors.Is(l.InterfaceErr, link.ErrConflict):
		return down(apiv1.ReasonInterfaceConflict, "%v", l.InterfaceErr)
	case !l.Interface.Exists && l.InterfaceErr != nil:
		return down(apiv1.ReasonInterfaceDown, "%v", l.InterfaceErr)
	case !l.Interface.Exists:
		return down(apiv1.ReasonInterfaceDown, "the XFRM interface does not exist")
	case !l.Interface.OperUp:
		return down(apiv1.ReasonInterfaceDown, "interface %s is down", l.Interface.Name)
	case l.Probe.State == probe.StateFailing:
		return down(apiv1.ReasonProbeFailed, "the peer's inside address answers no probes since %s",
			l.Probe.Since.UTC().Format(time.RFC3339))
	}
	return Judgement{Up: true}
}

// Held says whether a tunnel that was up still counts as up although charon knows of no CHILD_SA, or does not answer.
func Held(l Layers, past Past, now time.Time) bool {
	failed := l.Charon.Connected && l.Charon.LastFailure.Reason != "" && !l.Charon.LastFailure.Time.Before(l.Charon.Since)
	return past.Up && l.KernelCarries && !failed && now.Sub(l.Charon.Since) <= CharonHold
}

// judgeNegotiation says why no CHILD_SA is installed.
func judgeNegotiation(l Layers, lastUp time.Time) Judgement {
	failure := l.Charon.LastFailure
	switch {
	case failure.Reason != "" && !failure.Time.Before(lastUp):
		return Judgement{Reason: failure.Reason, Message: failure.Message}
	case l.Charon.IKE == charon.IKEEstablished:
		// On its way, or about to be closed and begun anew by the driver, which then says why.
		return down(apiv1.ReasonConnecting, "the IKE SA is established, no CHILD_SA is installed yet")
	case !l.Initiate:
		return down(apiv1.ReasonWaitingForPeer, "waiting for the customer to begin (initiation is RESPOND)")
	}
	return down(apiv1.ReasonConnecting, "negotiating with the customer")
}
