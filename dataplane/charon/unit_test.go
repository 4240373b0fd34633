package charon

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/secret"
	"github.com/google/go-cmp/cmp"
)

func TestValidateNamesTheField(t *testing.T) {
	tests := []struct {
		field  string
		change func(*Tunnel)
	}{
		{"name: ", func(t *Tunnel) { t.Name = "Big" }},
		{"name: ", func(t *Tunnel) { t.Name = "" }},
		{"local: ", func(t *Tunnel) { t.Local = netip.Addr{} }},
		{"remote: ", func(t *Tunnel) { t.Remote = netip.IPv4Unspecified() }},
		{"remote: ", func(t *Tunnel) { t.Remote = netip.MustParseAddr("2001:db8::1") }},
		{"remote: ", func(t *Tunnel) { t.Remote = netip.MustParseAddr("::ffff:192.0.2.2") }},
		{"local id: ", func(t *Tunnel) { t.LocalID = "" }},
		{"local id: ", func(t *Tunnel) { t.LocalID = "a\nb" }},
		{"remote id: ", func(t *Tunnel) { t.RemoteID = "%any" }},
		{"remote id: ", func(t *Tunnel) { t.RemoteID = "*.example" }},
		{"remote id: ", func(t *Tunnel) { t.RemoteID = "0.0.0.0" }},
		{"remote id: ", func(t *Tunnel) { t.RemoteID = "ipv4:192.0.2.2" }},
		{"remote id: ", func(t *Tunnel) { t.RemoteID = "fqdn:^.*$" }},
		{"psk: ", func(t *Tunnel) { t.PSK = secret.Secret{} }},
		{"if_id: ", func(t *Tunnel) { t.IfID = 0 }},
		{"version: ", func(t *Tunnel) { t.Version = 3 }},
		{"aggressive: ", func(t *Tunnel) { t.Aggressive = true }},
		{"ike proposals: ", func(t *Tunnel) { t.IKEProposals = nil }},
		{"esp proposals: ", func(t *Tunnel) { t.ESPProposals = []string{"aes256, aes128"} }},
		{"ike lifetime: ", func(t *Tunnel) { t.IKELifetime = time.Second }},
		{"esp lifetime: ", func(t *Tunnel) { t.ESPLifetime = 0 }},
		{"esp lifetime: ", func(t *Tunnel) { t.LifetimeBytes = 1 << 60 }},
		{"local ts: ", func(t *Tunnel) { t.LocalTS = nil }},
		{"remote ts: ", func(t *Tunnel) { t.RemoteTS = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} }},
		{"dpd interval: ", func(t *Tunnel) { t.DPDInterval = time.Millisecond }},
		{"dpd timeout: ", func(t *Tunnel) { t.DPDTimeout = MaxDPDTimeout + time.Second }},
		{"replay window: ", func(t *Tunnel) { t.ReplayWindow = 5000 }},
	}
	if err := wanted("a").Validate(); err != nil {
		t.Errorf("valid tunnel: %v", err)
	}
	for _, tt := range tests {
		tun := wanted("a")
		tt.change(&tun)
		err := tun.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), tt.field) {
			t.Errorf("error %v, want one about %s", err, tt.field)
		}
	}
}

func TestConnectionMessageLifetimes(t *testing.T) {
	v := capabilities{version: version{major: 5, minor: 9, patch: 8}}
	tun := wanted("a")
	tun.LifetimeBytes, tun.LifetimePackets = 1<<30, 1_000_000
	conn := connectionMessage(tun, v, 0).Section("bgw-a")
	child := conn.Section("children").Section("bgw-a")
	got := []string{}
	for _, key := range []string{"rekey_time", "over_time", "rand_time", "reauth_time", "dpd_delay", "if_id_in", "unique", "mobike", "keyingtries"} {
		got = append(got, key+"="+conn.Get(key))
	}
	for _, key := range []string{"rekey_time", "life_time", "rand_time", "rekey_bytes", "life_bytes", "rand_bytes", "life_packets", "start_action",
		"close_action", "dpd_action"} {
		got = append(got, "child "+key+"="+child.Get(key))
	}
	want := []string{"rekey_time=26400", "over_time=2400", "rand_time=1200", "reauth_time=0", "dpd_delay=10", "if_id_in=7", "unique=never",
		"mobike=no", "keyingtries=1", "child rekey_time=3240", "child life_time=3600", "child rand_time=180", "child rekey_bytes=858993460",
		"child life_bytes=1073741824", "child rand_bytes=107374182", "child life_packets=1000000", "child start_action=none",
		"child close_action=none", "child dpd_action=clear"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, there := conn.Lookup("dpd_timeout"); there {
		t.Error("dpd_timeout for IKEv2")
	}
}

// charon subtracts a random part of rand_time from rekey_time without a sign, and deletes an SA that is rekeyed too late.
func TestLifetimesLeaveRoom(t *testing.T) {
	for life := minLifetime; life < 48*time.Hour; life += 37 * time.Second {
		// charon's retransmissions take 21 s; a life too short for them has at least half of itself.
		least := min(21*time.Second, (life / 2).Truncate(time.Second))
		rekey, over := ikeLifetimes(life)
		if rekey+over != life || over/2 > rekey || over < least {
			t.Fatalf("IKE lifetime %v: rekey %v over %v", life, rekey, over)
		}
		if m := clampMargin(life, childMarginDivisor); m < least || life-m < m/2 {
			t.Fatalf("child lifetime %v: margin %v", life, m)
		}
	}
}

func TestConnectionMessageByVersion(t *testing.T) {
	tun := wanted("a")
	tun.IKEProposals = []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768", "aes256gcm16-prfsha384-mlkem768", "aes256gcm16-prfsha384-ecp384"}
	tun.IKEProposals = append(tun.IKEProposals, "aes256gcm16-prfsha384-ecp384-ke1_x25519")
	classical := tun.IKEProposals[2]
	old, _ := parseVersion("5.9.8")
	latest, _ := parseVersion("6.0.2")
	for _, tc := range []struct {
		name string
		can  capabilities
		want []string
	}{
		{"5.9.8", capabilities{version: old}, []string{classical}},
		{"6.0.2 without the plugin", capabilities{version: latest}, tun.IKEProposals[2:]},
		{"6.0.2", capabilities{version: latest, mlkem: true}, tun.IKEProposals},
	} {
		if diff := cmp.Diff(tc.want, connectionMessage(tun, tc.can, 0).Section("bgw-a").List("proposals")); diff != "" {
			t.Errorf("%s is given (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestConnectionMessageV1(t *testing.T) {
	tun := wanted("a")
	tun.Version, tun.Aggressive, tun.DPDInterval, tun.DPDTimeout = 1, true, 30*time.Second, 10*time.Second
	conn := connectionMessage(tun, capabilities{version: version{major: 5, minor: 9, patch: 8}}, 0).Section("bgw-a")
	if got := conn.Get("dpd_timeout"); got != "36" {
		t.Errorf("dpd_timeout %s, must exceed dpd_delay", got)
	}
	if got := conn.Section("children").Section("bgw-a").List("local_ts"); !slices.Equal(got, []string{"0.0.0.0/0"}) {
		t.Errorf("local_ts %v, want only the first", got)
	}
	if conn.Get("aggressive") != "yes" || conn.Get("version") != "1" {
		t.Error("mode")
	}
}

func TestParseVersion(t *testing.T) {
	tests := []struct {
		text                     string
		atLeast598, atLeast600ok bool
		bad                      bool
	}{
		{"5.9.8", true, false, false}, {"5.9.14", true, false, false}, {"6.0.0", true, true, false}, {"6.0", true, true, false},
		{"6.0beta4", true, false, false}, {"6.0.2dr1", true, true, false}, {"5.9.8rc1", false, false, false}, {"7.1", true, true, false},
		{"", false, false, true}, {"6", false, false, true}, {"a.b.c", false, false, true}, {"5.9.8 (x)", false, false, true},
	}
	for _, tt := range tests {
		v, err := parseVersion(tt.text)
		if (err != nil) != tt.bad {
			t.Errorf("%q: %v", tt.text, err)
		}
		if err == nil && (v.atLeast(5, 9, 8) != tt.atLeast598 || v.atLeast(6, 0, 0) != tt.atLeast600ok) {
			t.Errorf("%q is %+v", tt.text, v)
		}
	}
}

func TestInboxOverflowIsReported(t *testing.T) {
	b := newInbox()
	b.limit = 10
	for i := range 50 {
		b.put(entry{event: fmt.Sprint(i)})
	}
	done := make(chan struct{})
	b.put(entry{mark: listEnd, done: done})
	entries, lost, open := b.take()
	if len(entries) != 11 || !lost || !open || entries[10].done != done {
		t.Errorf("%d entries, lost %v, open %v", len(entries), lost, open)
	}
	b.close()
	b.put(entry{mark: listEnd, done: done})
	<-done
	if _, lost, open := b.take(); lost || open {
		t.Errorf("after close: lost %v open %v", lost, open)
	}
}

func TestSlowWatcherGetsResync(t *testing.T) {
	var w watchers
	ctx, cancel := context.WithCancel(t.Context())
	started, release := make(chan struct{}), make(chan struct{})
	var got []Event
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.watch(ctx, Event{Kind: Resync}, func(e Event) {
			if len(got) == 0 {
				close(started)
				<-release
			}
			if got = append(got, e); e.Tunnel == "last" {
				cancel()
			}
		})
	}()
	<-started
	for range watcherLimit + 10 {
		w.emit(Event{Kind: TunnelChanged, Tunnel: "x"})
	}
	w.emit(Event{Kind: TunnelChanged, Tunnel: "last"})
	close(release)
	<-done
	if len(got) < 2 || len(got) > 20 || got[1].Kind != Resync || got[len(got)-1].Tunnel != "last" {
		t.Errorf("%d events, second is %v", len(got), got[1].Kind)
	}
}

func TestScheduleOrders(t *testing.T) {
	s := newSchedule()
	now := time.Now()
	tunnels := []*tunnel{{name: "a", index: -1}, {name: "b", index: -1}, {name: "c", index: -1}}
	s.at(tunnels[0], now.Add(3*time.Second))
	s.at(tunnels[1], now.Add(2*time.Second))
	s.at(tunnels[2], now.Add(4*time.Second))
	s.at(tunnels[2], now)
	s.at(tunnels[2], now.Add(time.Hour))
	var got []string
	for {
		one, wait, ok := s.next(now)
		if !ok {
			break
		}
		if one == nil {
			now = now.Add(wait)
			continue
		}
		got = append(got, one.name)
	}
	if diff := cmp.Diff([]string{"c", "b", "a"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzFold(f *testing.F) {
	seed := func(event string, m *vici.Message) {
		frame, err := vici.Encode(vici.Packet{Type: vici.EventPacket, Name: event, Message: m})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[4:])
	}
	child := new(vici.Message).Set("uniqueid", "2").Set("state", "INSTALLED").Set("spi-in", "c1")
	pair := new(vici.Message).SetSection("old", child).SetSection("new", new(vici.Message).Set("uniqueid", "3"))
	for event, inner := range map[string]*vici.Message{"child-updown": child, "child-rekey": pair, "list-sa": child} {
		body := new(vici.Message).Set("uniqueid", "1").Set("state", "ESTABLISHED").SetSection("child-sas", new(vici.Message).SetSection("x", inner))
		seed(event, new(vici.Message).Set("up", "yes").SetSection("bgw-a", body))
	}
	seed("log", new(vici.Message).Set("ikesa-uniqueid", "1").Set("ikesa-name", "bgw-a").Set("msg", "giving up after 5 retransmits"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := vici.Decode(body)
		if err != nil {
			return
		}
		d := New(Options{})
		now := time.Now()
		d.mu.Lock()
		for range 2 {
			d.fold(p.Name, p.Message, now)
			d.epoch++
			d.foldItem(p.Message, now, now)
			d.endListing(now, now)
		}
		for range 2 { // IKEv1's CHILD_SAs go with the second one
			d.epoch++
			d.endListing(now, now)
		}
		names := d.names(func(*tunnel) bool { return true })
		d.mu.Unlock()
		for _, name := range names {
			// Listings without anything leave nothing.
			if st := d.State(name); len(st.Children) > 0 || st.IKE != IKEDown {
				t.Errorf("left behind: %+v", st)
			}
		}
	})
}

// Timeouts of the driver depend on charon's retransmissions, which only its configuration file knows.
func TestReferenceConfigurationFitsTimeouts(t *testing.T) {
	text, err := os.ReadFile("../../configs/strongswan.conf")
	if err != nil {
		t.Fatal(err)
	}
	value := func(key string) float64 {
		m := regexp.MustCompile(`(?m)^\s*` + key + `\s*=\s*([0-9.]+)\s*$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s is not set", key)
		}
		v, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	sum, step := 0.0, value("retransmit_timeout")
	within := 0
	for range int(value("retransmit_tries")) + 1 {
		if sum < minMargin.Seconds() {
			within++
		}
		sum += step
		step = min(step*value("retransmit_base"), value("retransmit_limit"))
	}
	// The jitter only shortens.
	least := time.Duration(sum * (1 - value("retransmit_jitter")/100) * float64(time.Second))
	if least < MaxDPDTimeout+time.Second || least > MaxDPDTimeout+10*time.Second {
		t.Errorf("charon is patient for %v, the longest timeout is %v", least, MaxDPDTimeout)
	}
	if within < 9 {
		t.Errorf("a request is sent only %d times within %v", within, minMargin)
	}
	for _, off := range []string{"install_routes", "process_route", "install_virtual_ip", "roam_events"} {
		if !regexp.MustCompile(`(?m)^\s*` + off + `\s*=\s*no\s*$`).Match(text) {
			t.Errorf("%s is not off", off)
		}
	}
}
