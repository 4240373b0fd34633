package allocate_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/controller/allocate"
)

func at(host, zone, addr string, load int) allocate.Candidate {
	return allocate.Candidate{Host: host, Zone: zone, Address: netip.MustParseAddr(addr), Load: load}
}

func met(host, zone, addr string) allocate.Candidate {
	c := at(host, zone, addr, 0)
	c.Met = true
	return c
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []allocate.Candidate
		ipv6 bool
		want string
		err  string
	}{
		{name: "none", err: "2 gateway hosts with a free IPv4 address are needed, there are 0"},
		{name: "two addresses of one host", in: []allocate.Candidate{at("a", "", "192.0.2.1", 0), at("a", "", "192.0.2.2", 0)},
			err: "2 gateway hosts with a free IPv4 address are needed, there are 1"},
		{name: "the other family", in: []allocate.Candidate{at("a", "", "2001:db8::1", 0), at("b", "", "192.0.2.2", 0)}, ipv6: true,
			err: "2 gateway hosts with a free IPv6 address are needed, there are 1"},
		{name: "two hosts", in: []allocate.Candidate{at("b", "", "192.0.2.2", 0), at("a", "", "192.0.2.1", 0)}, want: "192.0.2.1 192.0.2.2"},
		{name: "least load first", in: []allocate.Candidate{at("a", "", "192.0.2.1", 5), at("b", "", "192.0.2.2", 1), at("c", "", "192.0.2.3", 3)},
			want: "192.0.2.2 192.0.2.3"},
		{name: "another zone before less load", in: []allocate.Candidate{at("a", "x", "192.0.2.1", 0), at("b", "x", "192.0.2.2", 1), at("c", "y", "192.0.2.3", 9)},
			want: "192.0.2.1 192.0.2.3"},
		{name: "one zone is no obstacle", in: []allocate.Candidate{at("a", "x", "192.0.2.1", 0), at("b", "x", "192.0.2.2", 1)}, want: "192.0.2.1 192.0.2.2"},
		{name: "a host counts with all its addresses", in: []allocate.Candidate{
			at("a", "", "192.0.2.1", 0), at("a", "", "192.0.2.11", 9), at("b", "", "192.0.2.2", 4), at("c", "", "192.0.2.3", 4)},
			want: "192.0.2.2 192.0.2.3"},
		{name: "the free address of a host", in: []allocate.Candidate{at("a", "", "192.0.2.1", 2), at("a", "", "192.0.2.11", 1), at("b", "", "192.0.2.2", 0)},
			want: "192.0.2.2 192.0.2.11"},
		{name: "hosts that the customer does not meet again, before zones and load", in: []allocate.Candidate{
			met("a", "x", "192.0.2.1"), at("b", "y", "192.0.2.2", 5), at("c", "y", "192.0.2.3", 6)}, want: "192.0.2.2 192.0.2.3"},
		{name: "rather the same host again than none", in: []allocate.Candidate{met("a", "x", "192.0.2.1"), at("b", "y", "192.0.2.2", 5)},
			want: "192.0.2.1 192.0.2.2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := allocate.Addresses(tc.in, tc.ipv6)
			var words []string
			for _, a := range got {
				words = append(words, a.String())
			}
			if diff := cmp.Diff(tc.want, strings.Join(words, " ")); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("error %v, want %s", err, tc.err)
			}
		})
	}
}

func TestInside(t *testing.T) {
	used := map[allocate.Half]bool{}
	take := func(p string) {
		for _, h := range allocate.Halves(netip.MustParsePrefix(p)) {
			used[h] = true
		}
	}
	next := func(pools ...string) string {
		var list []netip.Prefix
		for _, p := range pools {
			list = append(list, netip.MustParsePrefix(p))
		}
		cloud, customer, err := allocate.Inside(list, func(h allocate.Half) bool { return used[h] })
		if err != nil {
			if !errors.Is(err, allocate.ErrNoInside) {
				t.Error(err)
			}
			return "none"
		}
		take(cloud.String())
		return cloud.String() + " " + customer.String()
	}
	take("169.254.0.6/31")
	for _, step := range []struct{ pools, want string }{
		{"169.254.0.0/16", "169.254.0.1/30 169.254.0.2"},
		{"169.254.0.0/16", "169.254.0.9/30 169.254.0.10"},
		{"169.254.169.252/29", "169.254.169.249/30 169.254.169.250"},
		{"169.254.169.252/29", "none"}, // the metadata service is in the other half
		{"192.0.2.0/30 2001:db8::/125", "192.0.2.1/30 192.0.2.2"},
		{"192.0.2.0/30 2001:db8::/125", "2001:db8::1/126 2001:db8::2"},
		{"192.0.2.0/30 2001:db8::/125", "2001:db8::5/126 2001:db8::6"},
		{"192.0.2.0/30 2001:db8::/125", "none"},
		{"255.255.255.252/30", "255.255.255.253/30 255.255.255.254"},
		{"255.255.255.252/30", "none"},
		{"192.0.2.8/31", "none"},
	} {
		if got := next(strings.Fields(step.pools)...); got != step.want {
			t.Errorf("%s: %s, want %s", step.pools, got, step.want)
		}
	}
}

func TestHalves(t *testing.T) {
	for in, want := range map[string]int{"192.0.2.1/30": 2, "192.0.2.1/31": 1, "192.0.2.1/32": 0, "192.0.2.1/29": 0, "2001:db8::1/126": 2, "2001:db8::1/127": 1} {
		if got := allocate.Halves(netip.MustParsePrefix(in)); len(got) != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestPSK(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s, err := allocate.PSK()
		if err != nil {
			t.Fatal(err)
		}
		text := s.Reveal()
		if len(text) != 32 || seen[text] || strings.ContainsFunc(text, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			t.Error("a key is short, was there before or has characters that need quotes")
		}
		seen[text] = true
	}
}
