package lab

import (
	"bufio"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadReply(t *testing.T) {
	for name, tc := range map[string]struct{ in, want, err string }{
		"one line":      {in: "0001 BIRD 2.0.12 ready.\n", want: "BIRD 2.0.12 ready.\n"},
		"lines":         {in: "2002-Name Proto\n1002-device1 Device\n direct1 Direct\n0000 \n", want: "Name Proto\ndevice1 Device\ndirect1 Direct\n"},
		"error":         {in: "9001 syntax error\n", err: "syntax error"},
		"not a reply":   {in: "hello\n", err: `reply "hello" has no code`},
		"short":         {in: "12\n", err: `reply "12" has no code`},
		"end too early": {in: "1002-device1\n", err: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readReply(bufio.NewReader(strings.NewReader(tc.in)))
			if err == nil != (tc.err == "") || err != nil && err.Error() != tc.err || got != tc.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestParseProtocols(t *testing.T) {
	out := `Name       Proto      Table      State  Since         Info
device1    Device     ---        up     20:40:01.123  
cloud      BGP        ---        up     20:40:03.456  Established   
other      BGP        ---        start  2026-11-20 20:40:03  Active        Socket: Connection refused
`
	want := []BIRDProtocol{
		{Name: "device1", Type: "Device", Table: "---", State: "up", Since: "20:40:01.123"},
		{Name: "cloud", Type: "BGP", Table: "---", State: "up", Since: "20:40:03.456", Info: "Established"},
		{Name: "other", Type: "BGP", Table: "---", State: "start", Since: "2026-11-20 20:40:03",
			Info: "Active Socket: Connection refused"},
	}
	if diff := cmp.Diff(want, parseProtocols(out)); diff != "" {
		t.Error(diff)
	}
}

func TestParseRoutes(t *testing.T) {
	out := "Table master4:\n" +
		"10.0.0.0/16          unicast [cloud1 20:40:03.456] * (100) [AS65000i]\n" +
		"\tvia 169.254.10.1 on xfrm1\n" +
		"\tType: BGP univ\n" +
		"\tBGP.as_path: 65000 64999\n" +
		"                     unicast [cloud2 20:40:04.456] (100) [AS65000i]\n" +
		"\tvia 169.254.10.5 on xfrm2 weight 1\n" +
		"\tvia 169.254.10.9 on xfrm3 weight 1\n" +
		"172.16.0.0/24        blackhole [announce4 20:40:01.000] * (200)\n" +
		"\tType: static univ\n" +
		"\nTable master6:\n" +
		"2001:db8::/32        unicast [direct1 20:40:01.000] * (240)\n" +
		"\tdev lan0\n"
	want := []BIRDRoute{
		{Prefix: "10.0.0.0/16", Protocol: "cloud1", Best: true, Via: []string{"169.254.10.1 on xfrm1"},
			Attributes: map[string]string{"Type": "BGP univ", "BGP.as_path": "65000 64999"}},
		{Prefix: "10.0.0.0/16", Protocol: "cloud2", Via: []string{"169.254.10.5 on xfrm2 weight 1", "169.254.10.9 on xfrm3 weight 1"},
			Attributes: map[string]string{}},
		{Prefix: "172.16.0.0/24", Protocol: "announce4", Best: true, Attributes: map[string]string{"Type": "static univ"}},
		{Prefix: "2001:db8::/32", Protocol: "direct1", Best: true, Via: []string{"lan0"}, Attributes: map[string]string{}},
	}
	if diff := cmp.Diff(want, parseRoutes(out)); diff != "" {
		t.Error(diff)
	}
}
