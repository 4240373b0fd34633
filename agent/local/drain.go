package local

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const (
	// DefaultTimeout is how long a drain waits for traffic to end when nobody says.
	DefaultTimeout = time.Minute
	// MaxTimeout keeps mistakes from lasting for ever.
	MaxTimeout = 24 * time.Hour
	// tick is how often drains are looked at.
	tick = time.Second
	// worseTime is how long neighbors have to take another way before theirs is withdrawn. Routers act on an update within a second
	// or two; MRAI, where somebody has it, is 5 s inside an AS and 30 s outside (RFC 4271 §10), and then the withdrawal moves the traffic.
	worseTime = 3 * time.Second
	// quietTime is how long nothing may be forwarded either way before a tunnel counts as empty.
	quietTime = 5 * time.Second
)

// drain is what is known of one drain since it began or since the agent started.
type drain struct {
	steps []*apiv1.DrainProgress
	ended bool
	// inForce is since when the present stage is; zero before that.
	inForce time.Time
	stage   string
	// last is the newest reading, quiet since when it has not changed.
	last  Forwarded
	known bool
	quiet time.Time
	// rate is what was forwarded in the last tick.
	rate Forwarded
}

// Drain begins to move traffic away from a tunnel, or from all of the host, or goes on with it until another deadline, and calls send
// with each step until all is over. The drain goes on when send fails or ctx ends.
func (k *Keeper) Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	names, err := k.begin(by, req)
	if err != nil {
		return err
	}
	sent := map[string]int{}
	for {
		k.mu.Lock()
		moved := k.moved
		var fresh []*apiv1.DrainProgress
		over := true
		for _, name := range names {
			d := k.drains[name]
			if d == nil {
				continue // the tunnel left the manifests
			}
			fresh = append(fresh, d.steps[min(sent[name], len(d.steps)):]...)
			sent[name] = len(d.steps)
			over = over && d.ended
		}
		k.mu.Unlock()
		for _, p := range fresh {
			if err := send(p); err != nil {
				return err
			}
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

// begin notes the drain and returns the tunnels that it is about.
func (k *Keeper) begin(by string, req *apiv1.DrainRequest) ([]string, error) {
	timeout := req.GetTimeout().AsDuration()
	switch {
	case timeout == 0:
		timeout = DefaultTimeout
	case timeout < 0 || timeout > MaxTimeout:
		return nil, refuse(Invalid, "timeout: must be positive and at most %s, not %s", MaxTimeout, timeout)
	}
	view := facts{k.opts.View()}
	names, host := []string{req.GetTunnel()}, req.GetTunnel() == ""
	if host {
		names = view.names()
	} else if view.tunnel(names[0]) == nil {
		return nil, refuse(Unknown, "tunnel %q is not on this host", names[0])
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	going := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return apiv1.LocallyDown(k.now.tunnels[name]) })
	notes, err := k.mayGo(view, going, req.GetConnectionsUpElsewhere(), req.GetForce())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	next := k.now.clone()
	deadline := stamp(now.Add(timeout))
	if host {
		next.host = &apiv1.LocalChange{State: apiv1.LocalDraining, Since: stamp(now), By: by, Deadline: deadline}
		if len(going) == 0 {
			next.host.State, next.host.Deadline = apiv1.LocalDrained, nil
		}
	}
	for _, name := range going {
		c := &apiv1.LocalChange{State: apiv1.LocalDraining, Stage: apiv1.DrainAnnouncedWorse, Since: stamp(now), By: by, Deadline: deadline, Host: host}
		if have := k.now.tunnels[name]; have != nil {
			c.Stage, c.Since, c.Host = apiv1.DrainWithdrawn, have.GetSince(), have.GetHost()
			if have.GetStage() == apiv1.DrainAnnouncedWorse {
				c.Stage = have.GetStage()
			}
		}
		next.tunnels[name] = c
	}
	if err := k.commit(next); err != nil {
		return nil, err
	}
	k.opts.Log.Info("drain", "tunnels", names, "host", host, "by", by, "timeout", timeout)
	for _, name := range names {
		old := k.drains[name]
		k.drains[name] = &drain{}
		if c := next.tunnels[name]; apiv1.LocallyDown(c) {
			k.step(name, apiv1.DrainDown, "it was down already: "+c.GetState())
			continue
		}
		if old != nil && !old.ended {
			k.step(name, apiv1.DrainNote, "it was being drained already; the new deadline counts")
		}
	}
	for i, note := range notes {
		k.step(going[min(i, len(going)-1)], apiv1.DrainNote, note)
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return names, nil
}

// step notes a step of a drain; the caller holds k.mu.
func (k *Keeper) step(name, stage, message string) {
	d := k.drains[name]
	if d == nil || d.ended {
		return
	}
	p := &apiv1.DrainProgress{Time: stamp(time.Now()), Tunnel: name, Stage: stage, Message: message}
	d.steps = append(d.steps, p)
	d.ended = stage == apiv1.DrainDown || stage == apiv1.DrainTimedOut || stage == apiv1.DrainAborted
	k.told(p, k.now.tunnels[name])
	close(k.moved)
	k.moved = make(chan struct{})
}

func (k *Keeper) told(p *apiv1.DrainProgress, c *apiv1.LocalChange) {
	if k.opts.Told != nil {
		k.opts.Told(p, c)
	}
}

// Run carries drains on until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if !k.busy() {
			select {
			case <-ctx.Done():
				return nil
			case <-k.wake:
				ticker.Reset(tick)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-ticker.C:
		}
		k.look(ctx)
	}
}

func (k *Keeper) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.drains {
		if !d.ended {
			return true
		}
	}
	return false
}

// look takes every drain as far as it has come.
func (k *Keeper) look(ctx context.Context) {
	counted, err := k.opts.Forwarded(ctx)
	if err != nil && ctx.Err() == nil {
		k.opts.Log.Warn("forwarded packets cannot be read", "error", err)
	}
	view := facts{k.opts.View()}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range apiv1.Names(k.drains) {
		if d := k.drains[name]; !d.ended {
			seen, ok := counted[name]
			k.advance(view, name, d, seen, ok && err == nil)
		}
	}
}

// advance takes one drain a stage further when it is time; the caller holds k.mu.
func (k *Keeper) advance(view facts, name string, d *drain, seen Forwarded, ok bool) {
	t, c, now := view.tunnel(name), k.now.tunnels[name], time.Now()
	if t == nil {
		return
	}
	switch {
	case c.GetState() != apiv1.LocalDraining:
		if view.closed(t) {
			k.step(name, apiv1.DrainDown, "the tunnel is down")
		}
		return
	case c.GetStage() == apiv1.DrainTimedOut:
		// It was so when the agent started: an operator decides what comes next.
		k.step(name, apiv1.DrainTimedOut, "before the agent started")
		return
	case t.GetStatus().GetRunning() != apiv1.RunningUp:
		k.turn(name, d, apiv1.LocalDrained, "", "the tunnel was not up")
		return
	}
	d.sample(seen, ok, now)
	if t.GetStatus().GetLocal().GetStage() != c.GetStage() {
		k.expire(name, d, c, now, "the stage is not in force yet")
		return
	}
	if d.stage != c.GetStage() {
		d.stage, d.inForce = c.GetStage(), now
		k.step(name, d.stage, stageText(d.stage, view.heard(t)))
	}
	switch c.GetStage() {
	case apiv1.DrainAnnouncedWorse:
		if !view.heard(t) || now.Sub(d.inForce) >= worseTime {
			k.turn(name, d, apiv1.LocalDraining, apiv1.DrainWithdrawn, "")
			return
		}
	case apiv1.DrainWithdrawn:
		if d.known && now.Sub(d.quiet) >= quietTime && now.Sub(d.inForce) >= quietTime {
			k.step(name, apiv1.DrainQuiet, fmt.Sprintf("nothing was forwarded for %s", quietTime))
			k.turn(name, d, apiv1.LocalDrained, "", "")
			return
		}
	}
	k.expire(name, d, c, now, moving(d, t))
}

// sample notes a reading of the counters.
func (d *drain) sample(seen Forwarded, ok bool, now time.Time) {
	switch {
	case !ok:
		d.known = false
		return
	case !d.known || seen != d.last:
		d.quiet = now
	}
	d.rate = Forwarded{}
	if d.known && seen.In >= d.last.In && seen.Out >= d.last.Out {
		d.rate = Forwarded{In: seen.In - d.last.In, Out: seen.Out - d.last.Out}
	}
	d.known, d.last = true, seen
}

func stageText(stage string, heard bool) string {
	switch {
	case stage == apiv1.DrainAnnouncedWorse && heard:
		return "other tunnels carry what leaves; BGP neighbors hear of a longer way"
	case stage == apiv1.DrainAnnouncedWorse:
		return "other tunnels carry what leaves; there is no BGP neighbor to be told"
	}
	return "BGP neighbors hear of no way over the tunnel; what still comes is forwarded"
}

// moving says what keeps a tunnel from being empty.
func moving(d *drain, t *apiv1.VPNTunnel) string {
	if !d.known {
		return "forwarded packets cannot be counted"
	}
	text := fmt.Sprintf("still forwarded in the last second: %d packets in, %d out", d.rate.In, d.rate.Out)
	if d.rate == (Forwarded{}) {
		text = "packets were forwarded in the last seconds"
	}
	if d.rate.In > 0 && t.GetStatus().GetBgp() != apiv1.BGPEstablished {
		text += "; without BGP only the customer can turn its traffic"
	}
	return text
}

// expire ends a drain whose deadline has passed; the tunnel stays up and withdrawn.
func (k *Keeper) expire(name string, d *drain, c *apiv1.LocalChange, now time.Time, why string) {
	if c.GetDeadline() == nil || now.Before(c.GetDeadline().AsTime()) {
		return
	}
	k.turn(name, d, apiv1.LocalDraining, apiv1.DrainTimedOut, why)
	k.step(name, apiv1.DrainTimedOut, why+"; the tunnel stays up and withdrawn")
}

// turn gives a tunnel another state or stage. Should that not get on disk, it is in force all the same: an agent that starts anew
// comes this way again.
func (k *Keeper) turn(name string, d *drain, state, stage, message string) {
	c := proto.CloneOf(k.now.tunnels[name])
	c.State, c.Stage, c.Message = state, stage, message
	if state == apiv1.LocalDrained {
		c.Since, c.Deadline = stamp(time.Now()), nil
	}
	next := k.now.clone()
	next.tunnels[name] = c
	if next.host != nil && state == apiv1.LocalDrained && !slices.ContainsFunc(apiv1.Names(next.tunnels), func(n string) bool {
		return next.tunnels[n].GetState() == apiv1.LocalDraining
	}) {
		next.host = proto.CloneOf(next.host)
		next.host.State, next.host.Deadline, next.host.Since = apiv1.LocalDrained, nil, c.Since
	}
	if err := k.opts.File.write(next); err != nil {
		k.opts.Log.Error("local changes cannot be kept", "error", err)
	}
	k.now = next
	d.inForce = time.Time{}
	k.opts.Changed()
}
