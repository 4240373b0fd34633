package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// What bordergwctl and routers tell of a World, and waiting until they tell what is wanted.

// TunnelStatus is what bordergwctl prints of a tunnel.
type TunnelStatus struct {
	Admin, Running, Reason, Message, Since, Host string
	IKE                                          string `json:"ike"`
	Child, Interface, BGP, Probe                 string
	MTU                                          int
	IfID                                         uint32 `json:"ifId"`
	InterfaceName                                string
	ChildSAs                                     []struct{ State, Suite string }
	Negotiated                                   struct {
		IKEVersion                            int
		IKESuite, ESPSuite, LocalID, RemoteID string
		NATT, PostQuantum                     bool
		RemoteEndpoint                        string
	}
	BFD        string `json:"bfd"`
	BFDSession struct {
		State, PeerState, Message string
		Armed                     bool
		Downs                     uint64
	} `json:"bfdSession"`
	BGPSession struct {
		State, Message, NextTry, Since string
		LimitExceeded                  uint64
		Refused                        map[string]int
	} `json:"bgpSession"`
	Counters struct {
		Establishments, Rekeys, Renegotiations uint64
		Failures                               map[string]uint64 // by reason
	}
	Conditions []struct{ Type, Object, Message string }
}

// statuses asks with bordergwctl for resources with a status, by name.
func statuses[T any](ask func(to any, args ...string) error, args ...string) (map[string]T, error) {
	var out struct {
		Items []struct {
			Name   string
			Status T
		}
	}
	if err := ask(&out, args...); err != nil {
		return nil, err
	}
	byName := map[string]T{}
	for _, i := range out.Items {
		byName[i.Name] = i.Status
	}
	return byName, nil
}

// Tunnels asks all agents together, by name.
func (w *World) Tunnels() (map[string]TunnelStatus, error) {
	return statuses[TunnelStatus](w.AgentA.CtlJSON, append(w.others(), "get", "tunnels")...)
}

// ConnectionStatus is what bordergwctl prints of a connection.
type ConnectionStatus struct {
	Availability, Since string
	Reasons, Messages   []string
	TunnelsUp, Tunnels  int
}

// Connections asks all agents together, by name.
func (w *World) Connections() (map[string]ConnectionStatus, error) {
	return statuses[ConnectionStatus](w.AgentA.CtlJSON, append(w.others(), "get", "connections")...)
}

// others are the flags that name the other agents' sockets.
func (w *World) others() []string {
	var args []string
	for _, a := range w.Agents()[1:] {
		args = append(args, "--socket", a.Socket())
	}
	return args
}

// Ctl runs bordergwctl against all agents.
func (w *World) Ctl(args ...string) (string, error) {
	return w.AgentA.Ctl(append(w.others(), args...)...)
}

// Running waits until tunnels are as wanted: "shop-idc-1=UP", or "shop-idc-1=DOWN:DPD_TIMEOUT"; several reasons may be given,
// separated by "|". It returns how long that took.
func (w *World) Running(timeout time.Duration, want ...string) time.Duration {
	w.T.Helper()
	return lab.Eventually(w.T, timeout, strings.Join(want, ", "), func() error {
		tunnels, err := w.Tunnels()
		if err != nil {
			return err
		}
		var errs []error
		for _, text := range want {
			name, state, _ := strings.Cut(text, "=")
			running, reasons, some := strings.Cut(state, ":")
			st, ok := tunnels[name]
			reasonFits := !some
			for _, r := range strings.Split(reasons, "|") {
				reasonFits = reasonFits || r == st.Reason
			}
			if !ok || st.Running != running || !reasonFits {
				errs = append(errs, fmt.Errorf("%s is %+v", name, st))
			}
		}
		return errors.Join(errs...)
	})
}

// BothUp waits until both tunnels are up, and with BGP until the customers' and the fabric's sessions are established.
func (w *World) BothUp() time.Duration {
	w.T.Helper()
	start := time.Now()
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	if w.Options.Routing == "BGP" {
		for _, b := range []*lab.BIRD{w.CustBIRD1, w.CustBIRD2} {
			lab.Eventually(w.T, startup, "the customer's BGP session", func() error { return b.Established("cloud") })
		}
	}
	w.FabricUp()
	return time.Since(start)
}

// FabricUp waits until the VPC's router knows the customer's LAN over every gateway.
func (w *World) FabricUp() {
	w.T.Helper()
	names := []string{"gw_a"}
	if w.GatewayB != nil {
		names = append(names, "gw_b")
	}
	lab.Eventually(w.T, startup, "the VPC router's sessions", func() error { return w.VPCBIRD.Established(names...) })
	for _, n := range names {
		lab.Eventually(w.T, startup, "the customer's prefix at the VPC router from "+n, func() error {
			routes, err := w.VPCBIRD.Routes(n)
			if err == nil && !slices.ContainsFunc(routes, func(r lab.BIRDRoute) bool { return r.Prefix == lab.CustomerLAN }) {
				err = fmt.Errorf("it has only %+v", routes)
			}
			return err
		})
	}
}

// Availability waits for the connection's verdict over all agents and returns it.
func (w *World) Availability(timeout time.Duration, want string) ConnectionStatus {
	w.T.Helper()
	var last ConnectionStatus
	lab.Eventually(w.T, timeout, want, func() error {
		all, err := w.Connections()
		if err != nil {
			return err
		}
		last = all[Connection]
		if last.Availability != want {
			return fmt.Errorf("the verdict is %+v", last)
		}
		return nil
	})
	return last
}
