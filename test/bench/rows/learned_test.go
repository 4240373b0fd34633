//go:build bench

package rows

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/bench/record"
	"github.com/bordergw/bordergw/test/lab"
)

// TestLearnedRoutes measures two rows in one network a router: routes come from two BGP peers, one of the tunnels dies.
func TestLearnedRoutes(t *testing.T) {
	sizes := []int{100, 10_000}
	if !small() {
		sizes = []int{100_000}
	}
	for _, routes := range sizes {
		names := []string{"bordergw", "FRR", "BIRD"}
		came, moved, rss := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
		var routers []*router
		for _, name := range names {
			routers = append(routers, newRouter(t, name, routes))
		}
		for range turns(t) {
			for _, r := range routers {
				came[r.name] = append(came[r.name], r.announce().Seconds())
				moved[r.name] = append(moved[r.name], r.cut().Seconds())
				memory, err := peakRSS(r.GatewayA, r.programs...)
				r.must(err)
				rss[r.name] = append(rss[r.name], memory)
				r.withdraw()
			}
		}
		for _, peer := range names[1:] {
			series := func(quantity, unit string, of map[string][]float64, goal record.Goal) record.Series {
				return record.Series{Quantity: quantity, Unit: unit, Peer: peer, Size: routes, Things: "routes", A: of["bordergw"], B: of[peer], Goal: goal}
			}
			faster, onlyFRR := record.AtMost(1).OfRatio(), record.AtMost(1).OfRatio()
			if peer != "FRR" {
				onlyFRR = record.Goal{}
			}
			put(t, "failover-routes", series("last packet to the dead end after the cut", "s", moved, faster))
			put(t, "routes-in", series("all routes in the kernel", "s", came, onlyFRR), series("peak memory", "MiB", rss, record.Goal{}))
		}
		for _, r := range routers {
			r.Lab.Close()
		}
	}
}

// announce lets both customers announce, and returns how long it took until the kernel had everything.
func (r *router) announce() time.Duration {
	r.t.Helper()
	c, err := follow(r.GatewayA)
	r.must(err)
	defer c.close()
	start := time.Now()
	r.must(errors.Join(r.CustBIRD1.Enable("announcev4"), r.CustBIRD2.Enable("announcev4")))
	return r.filled(c).Sub(start)
}

func (r *router) withdraw() {
	r.t.Helper()
	r.must(errors.Join(r.CustBIRD1.Disable("announcev4"), r.CustBIRD2.Disable("announcev4")))
	r.emptied()
}

// quietTime without a packet to the dead end says that there will be none.
const quietTime = 3 * time.Second

// cut loses the first tunnel's underlay under a flow to all routes, and returns how long packets went on into the tunnel. It leaves
// everything as it was before.
func (r *router) cut() time.Duration {
	r.t.Helper()
	var last atomic.Int64
	learned := netip.MustParsePrefix("20.0.0.0/6")
	sniffer := r.GatewayA.Sniff(r.device, func(p lab.Packet) bool {
		if p.Outgoing && learned.Contains(p.Dst) {
			last.Store(time.Now().UnixNano())
		}
		return false
	})
	stop := r.flow()
	lab.Eventually(r.t, patience, r.name+": packets take the first tunnel", func() error {
		if last.Load() == 0 {
			return errors.New("none so far")
		}
		return nil
	})
	start := time.Now()
	r.Wire1.Cut()
	lab.Eventually(r.t, patience, r.name+": the dead end is left", func() error {
		if since := time.Since(time.Unix(0, last.Load())); since < quietTime {
			return errors.New("there was a packet just now")
		}
		return nil
	})
	stop()
	_, err := sniffer.Stop()
	r.must(err)
	took := time.Unix(0, last.Load()).Sub(start)

	c, err := follow(r.GatewayA)
	r.must(err)
	defer c.close()
	r.Wire1.Restore()
	r.sessions()
	r.filled(c)
	return took
}

// flow sends a thousand packets a second from the VPC to the routes, each to another of them in no order, until it is stopped.
func (r *router) flow() (stop func()) {
	r.t.Helper()
	var conn *net.UDPConn
	r.must(r.VPCHost.Do(func() (err error) { conn, err = net.ListenUDP("udp4", nil); return err }))
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		random := rand.New(rand.NewPCG(1, 2))
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			for range 10 {
				to := netip.MustParseAddr(prefix(random.IntN(r.routes)) + "1")
				// Nobody answers there; what the kernel says about that is of no interest.
				_, _ = conn.WriteToUDPAddrPort(make([]byte, 64), netip.AddrPortFrom(to, 9))
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		_ = conn.Close()
	}
}

// learned are the numbers of next hops of the learned routes, whatever table they are in.
func (r *router) learned() (map[string]int, error) {
	inside := netip.MustParsePrefix("20.0.0.0/6")
	out := map[string]int{}
	err := r.GatewayA.Netlink().RouteListFilteredIter(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE,
		func(route netlink.Route) bool {
			if route.Dst != nil {
				if a, ok := netip.AddrFromSlice(route.Dst.IP.To4()); ok && inside.Contains(a) {
					out[route.Dst.String()] = max(1, len(route.MultiPath))
				}
			}
			return true
		})
	return out, err
}
