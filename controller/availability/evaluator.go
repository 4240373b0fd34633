// Package availability keeps the verdict on every connection: HIGHLY_AVAILABLE or not, why, since when, and what one more failure would
// break, from what all hosts report.
//
// Every controller evaluates; none is the leader. All inputs and the verdicts are records of one store, of which each controller has the
// state of exactly one revision. A verdict is written on condition that the one it replaces is still the one that was seen: of
// several controllers that come to the same verdict one writes it, and one that lags behind cannot bring an older one back. The
// time and the history of a verdict are therefore one and the same everywhere, and outlive every controller.
package availability

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

const (
	// maxHistory bounds the transitions kept of one connection.
	maxHistory = 50
	// batchSize bounds the verdicts of one transaction; etcd takes 128 operations unless it is told otherwise.
	batchSize = 50
	// retryInterval is how long to wait after the store could not be written.
	retryInterval = time.Second
)

// Options of an Evaluator.
type Options struct {
	Store *store.Store
	Log   *slog.Logger
}

// Evaluator keeps the verdicts up to date.
type Evaluator struct {
	store *store.Store
	log   *slog.Logger

	mu sync.Mutex
	// written counts the transitions that this controller wrote, by verdict.
	written map[string]uint64

	// Run's own: the connections of tunnels as they were seen last, to find what a deletion concerns.
	connectionOf map[string]string
}

// New returns an evaluator that has evaluated nothing yet.
func New(opts Options) *Evaluator {
	return &Evaluator{store: opts.Store, log: opts.Log, written: map[string]uint64{}, connectionOf: map[string]string{}}
}

// Run evaluates everything, then what changes concern, until ctx ends.
func (e *Evaluator) Run(ctx context.Context) error {
	changes := e.store.Subscribe()
	defer changes.Close()
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	defer retry.Stop()
	due := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes.Wake():
			changed, all := changes.Take()
			e.note(changed, all, due)
		case <-retry.C:
		}
		if err := e.settle(ctx, due); err != nil && ctx.Err() == nil {
			e.log.Warn("verdicts cannot be written yet", "connections", len(due), "error", err)
			retry.Reset(retryInterval)
		}
	}
}

// note adds the connections that changes concern.
func (e *Evaluator) note(changed map[store.Ref]struct{}, all bool, due map[string]bool) {
	e.store.View(func(r store.Reader) {
		if all {
			e.noteAll(r, due)
			return
		}
		for ref := range changed {
			e.noteOne(r, ref, due)
		}
	})
}

func (e *Evaluator) noteAll(r store.Reader, due map[string]bool) {
	for _, kind := range []string{apiv1.KindVPNConnection, fleet.KindAvailability} {
		for _, rec := range r.All(kind) {
			due[rec.Name] = true
		}
	}
	for _, rec := range r.All(apiv1.KindVPNTunnel) {
		e.noteOne(r, rec.Ref, due)
	}
	for _, rec := range r.All(fleet.KindTunnelStatus) {
		e.noteOne(r, rec.Ref, due)
	}
	for _, rec := range r.All(fleet.KindHost) {
		due[silenceOf+rec.Name] = true
	}
}

// Keys of due that are no connections; names have no colons.
const (
	// silenceOf: a host whose silence may have to be noted.
	silenceOf = "silence:"
	// orphan: a tunnel that is gone and whose status is not.
	orphan = "orphan:"
)

func (e *Evaluator) noteOne(r store.Reader, ref store.Ref, due map[string]bool) {
	switch ref.Kind {
	case apiv1.KindVPNConnection:
		due[ref.Name] = true
	case apiv1.KindCustomerGateway:
		for _, c := range r.Find(model.ConnectionsOfCustomer(ref.Name)) {
			due[c.Name] = true
		}
	case apiv1.KindVPNTunnel, fleet.KindTunnelStatus:
		if before, known := e.connectionOf[ref.Name]; known {
			due[before] = true
		}
		t := fleet.Object[*apiv1.VPNTunnel](r, apiv1.KindVPNTunnel, ref.Name)
		if t == nil {
			delete(e.connectionOf, ref.Name)
			due[orphan+ref.Name] = true
			return
		}
		e.connectionOf[ref.Name] = t.GetSpec().GetConnection()
		due[t.GetSpec().GetConnection()] = true
	case fleet.KindPresence, fleet.KindApplied:
		due[silenceOf+ref.Name] = true
		e.noteHost(r, ref.Name, due)
	case apiv1.KindGatewayHost:
		// Addresses come and go: what was there before is not known any more.
		for _, rec := range r.All(apiv1.KindVPNConnection) {
			due[rec.Name] = true
		}
	}
}

func (e *Evaluator) noteHost(r store.Reader, host string, due map[string]bool) {
	for _, address := range fleet.Object[*apiv1.GatewayHost](r, apiv1.KindGatewayHost, host).GetSpec().GetAddresses() {
		for _, c := range r.Find(model.ConnectionsOn(address)) {
			due[c.Name] = true
		}
	}
}

// settle writes what is due and takes it out of due.
func (e *Evaluator) settle(ctx context.Context, due map[string]bool) error {
	for len(due) > 0 {
		names := apiv1.Names(due)
		names = names[:min(len(names), batchSize)]
		var told []*apiv1.Transition
		if _, err := e.store.Write(ctx, func(tx *store.Tx) error {
			told = told[:0]
			now := time.Now()
			for _, name := range names {
				if host, ok := strings.CutPrefix(name, silenceOf); ok {
					noteSilence(tx, host, now)
				} else if tunnel, ok := strings.CutPrefix(name, orphan); ok {
					removeOrphan(tx, tunnel)
				} else if t := evaluate(tx, name, now); t != nil {
					told = append(told, t)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, name := range names {
			delete(due, name)
		}
		for _, t := range told {
			e.log.Info("connection", "connection", t.GetConnection(), "availability", t.GetAfter(), "before", t.GetBefore(), "reasons", t.GetReasons())
			e.mu.Lock()
			e.written[t.GetAfter()]++
			e.mu.Unlock()
		}
	}
	return nil
}

// noteSilence dates the silence of a host that reported once.
func noteSilence(tx *store.Tx, host string, now time.Time) {
	if tx.Peek().Get(fleet.Presence(host)) != nil || tx.Peek().Get(fleet.Silence(host)) != nil || tx.Peek().Get(fleet.Host(host)) == nil {
		return
	}
	// What decides must not have changed when it is written.
	tx.Get(fleet.Presence(host))
	tx.Put(fleet.Silence(host), &apiv1.Stored{Silence: &apiv1.HostSilence{Since: timestamppb.New(now)}})
}

// removeOrphan removes the status of a tunnel that is gone; its host may be, too.
func removeOrphan(tx *store.Tx, tunnel string) {
	if tx.Peek().Get(store.Ref{Kind: apiv1.KindVPNTunnel, Name: tunnel}) == nil && tx.Peek().Get(fleet.TunnelStatusRef(tunnel)) != nil {
		tx.Delete(fleet.TunnelStatusRef(tunnel))
	}
}

// evaluate stages a connection's verdict if it is another one than the store has. It returns the transition, if it is one.
func evaluate(tx *store.Tx, name string, now time.Time) *apiv1.Transition {
	r, ref := tx.Peek(), fleet.Availability(name)
	conn := fleet.Object[*apiv1.VPNConnection](r, apiv1.KindVPNConnection, name)
	before := r.Get(ref)
	if conn == nil {
		if before != nil {
			tx.Delete(ref)
		}
		return nil
	}
	next, up := Verdict(r, conn)
	record := &apiv1.AvailabilityRecord{}
	if before != nil {
		record = proto.CloneOf(before.Value.GetAvailability())
	}
	prev := record.GetStatus()
	apiv1.KeepSince(prev, next, now)
	if proto.Equal(prev, next) {
		return nil
	}
	record.Status, record.Changed = next, false
	var told *apiv1.Transition
	if prev.GetAvailability() != next.GetAvailability() || !slices.Equal(prev.GetReasons(), next.GetReasons()) {
		told = &apiv1.Transition{
			Time: next.GetSince(), Connection: name, Before: prev.GetAvailability(), After: next.GetAvailability(),
			Reasons: next.GetReasons(), Messages: next.GetMessages(), TunnelsUp: up,
		}
		record.Changed = true
		record.History = append(record.History, told)
		record.History = record.History[max(0, len(record.History)-maxHistory):]
	}
	tx.Put(ref, &apiv1.Stored{Availability: record})
	return told
}

// Verdict evaluates a connection from what a state of the store has; Since is left out. It also returns the names of the tunnels that are
// up.
func Verdict(r store.Reader, conn *apiv1.VPNConnection) (*apiv1.VPNConnectionStatus, []string) {
	customer := fleet.Object[*apiv1.CustomerGateway](r, apiv1.KindCustomerGateway, conn.GetSpec().GetCustomerGateway())
	var tunnels []*apiv1.VPNTunnel
	var up []string
	for _, rec := range r.Find(model.TunnelsOf(conn.GetSpec().GetBorderGateway(), conn.GetName())) {
		t, ok := model.Stored(rec).(*apiv1.VPNTunnel)
		if !ok {
			continue
		}
		st := fleet.TunnelStatus(r, t)
		tunnels = append(tunnels, &apiv1.VPNTunnel{Name: t.GetName(), Spec: t.GetSpec(), Status: st})
		if st.GetRunning() == apiv1.RunningUp {
			up = append(up, t.GetName())
		}
	}
	return apiv1.Evaluate(conn, customer, tunnels), up
}

// Transitions returns how many transitions this controller has written, by verdict.
func (e *Evaluator) Transitions() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]uint64{}
	for _, v := range []string{apiv1.HighlyAvailable, apiv1.NotHighlyAvailable} {
		out[v] = e.written[v]
	}
	return out
}
