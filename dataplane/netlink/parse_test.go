package netlink

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func attribute(kind int, value []byte) []byte { return nl.NewRtAttr(kind, value).Serialize() }

func nlmsgerr(code int32, rest []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-code))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+8)) // the request's length
	b = append(b, make([]byte, unix.SizeofNlMsghdr-4)...)
	return append(b, rest...)
}

func TestErrorsCarryTheKernelsText(t *testing.T) {
	text := attribute(nl.NLMSGERR_ATTR_MSG, []byte("Invalid nexthop id\x00"))
	payload := make([]byte, 8)
	tests := []struct {
		name  string
		err   error
		errno error
		want  string
	}{
		{"success", ackError(0, nlmsgerr(0, payload)), nil, ""},
		{"plain", ackError(0, nlmsgerr(int32(unix.EINVAL), payload)), unix.EINVAL, "invalid argument"},
		{"with text", ackError(unix.NLM_F_ACK_TLVS, nlmsgerr(int32(unix.EINVAL), append(payload, text...))), unix.EINVAL,
			"invalid argument: Invalid nexthop id"},
		{"capped, with text", ackError(unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED, nlmsgerr(int32(unix.ENOENT), text)), unix.ENOENT,
			"no such file or directory: Invalid nexthop id"},
		{"end of a dump", doneError(0, binary.NativeEndian.AppendUint32(nil, 0)), nil, ""},
		{"end of a dump of an old kernel", doneError(0, nil), nil, ""},
		// The library's loop takes these attributes for an echoed request and panics.
		{"failed dump with text", doneError(unix.NLM_F_ACK_TLVS, append(nlmsgerr(int32(unix.ENOENT), nil)[:4], text...)), unix.ENOENT,
			"no such file or directory: Invalid nexthop id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !errors.Is(tt.err, tt.errno) || tt.err != nil && tt.err.Error() != tt.want {
				t.Errorf("error %v, want %q", tt.err, tt.want)
			}
		})
	}
	if ackError(0, []byte{1, 2, 3}) == nil {
		t.Error("a short acknowledgement was accepted")
	}
}

func TestEventsOfOthersAndOwn(t *testing.T) {
	h := &Handle{port: 42}
	data := append(nhmsg{family: unix.AF_INET, protocol: 201}.Serialize(), attribute(nhaID, nl.Uint32Attr(7))...)
	for port, own := range map[uint32]bool{42: true, 43: false, 0: false} {
		e, known, err := h.event(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_DELNEXTHOP, Pid: port}, Data: data})
		if err != nil || !known || e.Own != own || e.Kind != NexthopGone || e.Nexthop.ID != 7 {
			t.Errorf("from port %d: %+v, %v, %v", port, e, known, err)
		}
	}
	if _, known, err := h.event(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.RTM_NEWNEIGH}}); known || err != nil {
		t.Errorf("neighbour event: %v, %v", known, err)
	}
}

func TestRequestsReadBack(t *testing.T) {
	want := Route{
		Table: 100001, Prefix: netip.MustParsePrefix("fd00:1::/48"), Metric: 512, Protocol: 201, Type: Unreachable,
	}
	req := routeRequest(unix.RTM_NEWROUTE, 0, want)
	got, err := parseRoute(req.Serialize()[unix.SizeofNlMsghdr:])
	if err != nil || got != want {
		t.Errorf("route %+v, %v; want %+v", got, err, want)
	}
}

func TestRulesReadBack(t *testing.T) {
	want := Rule{IPv6: true, Priority: 2, Protocol: 201, Table: 100001}
	message := func(change func(header []byte), attributes ...[]byte) []byte {
		req, err := ruleRequest(unix.RTM_NEWRULE, 0, want)
		if err != nil {
			t.Fatal(err)
		}
		b := req.Serialize()[unix.SizeofNlMsghdr:]
		change(b)
		for _, a := range attributes {
			b = append(b, a...)
		}
		return b
	}
	same := func([]byte) {}
	conditional := want
	conditional.Other = true
	none := binary.NativeEndian.AppendUint32(nil, 1<<32-1)
	tests := []struct {
		name    string
		message []byte
		want    Rule
	}{
		{"plain", message(same), want},
		{"as the kernel writes it", message(same, attribute(unix.FRA_SUPPRESS_PREFIXLEN, none)), want},
		{"suppressed prefixes", message(same, attribute(unix.FRA_SUPPRESS_PREFIXLEN, nl.Uint32Attr(0))), conditional},
		{"input device", message(same, attribute(unix.FRA_IIFNAME, []byte("eth0\x00"))), conditional},
		{"attribute of the future", message(same, attribute(77, nl.Uint32Attr(1))), conditional},
		{"source", message(func(b []byte) { b[2] = 64 }), conditional},
		{"class", message(func(b []byte) { b[3] = 8 }), conditional},
		{"unreachable", message(func(b []byte) { b[7] = unix.FR_ACT_UNREACHABLE }), conditional},
		{"inverted", message(func(b []byte) { binary.NativeEndian.PutUint32(b[8:], fibRuleInvert) }), conditional},
	}
	for _, tt := range tests {
		if got, err := parseRule(tt.message); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, bad := range [][]byte{nil, message(same)[:11], message(same, attribute(unix.FRA_PRIORITY, []byte{1}))} {
		if got, err := parseRule(bad); err == nil {
			t.Errorf("malformed rule taken for %+v", got)
		}
	}
}

func FuzzParse(f *testing.F) {
	route := routeRequest(unix.RTM_NEWROUTE, 0, Route{Table: 1, Prefix: netip.MustParsePrefix("10.0.0.0/8"), Metric: 1, Protocol: 201})
	f.Add(uint16(unix.RTM_NEWROUTE), route.Serialize()[unix.SizeofNlMsghdr:])
	f.Add(uint16(unix.RTM_NEWNEXTHOP), append(nhmsg{}.Serialize(), attribute(nhaGroup, make([]byte, 24))...))
	f.Add(uint16(unix.RTM_NEWADDR), append(nl.NewIfAddrmsg(unix.AF_INET).Serialize(), attribute(unix.IFA_LOCAL, []byte{10, 0, 0, 1})...))
	f.Add(uint16(unix.RTM_NEWADDR), []byte{1, 2, 3})
	f.Add(uint16(unix.RTM_NEWRULE), append(make([]byte, sizeofFibRuleHdr), attribute(unix.FRA_TABLE, nl.Uint32Attr(1))...))
	f.Add(uint16(unix.NLMSG_ERROR), nlmsgerr(2, attribute(nl.NLMSGERR_ATTR_MSG, []byte("text\x00"))))
	f.Fuzz(func(t *testing.T, message uint16, data []byte) {
		h := &Handle{}
		switch message {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			return // decoded by the library
		case unix.NLMSG_ERROR:
			for _, flags := range []uint16{0, unix.NLM_F_ACK_TLVS, unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED} {
				_ = ackError(flags, data)
				_ = doneError(flags, data)
			}
			return
		}
		e, known, err := h.event(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: message}, Data: data})
		if known && err != nil {
			t.Errorf("an event that cannot be decoded was given out: %+v", e)
		}
	})
}
