package apiv1_test

import (
	"testing"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestInnerMTU(t *testing.T) {
	type sizes [4]int // IPv4, IPv4 with NAT-T, IPv6, IPv6 with NAT-T
	for _, tc := range []struct {
		encryption, integrity string
		outer                 int
		want                  sizes
	}{
		{"AES_GCM_16", "", 1500, sizes{1446, 1438, 1426, 1418}},
		{"AES_CCM_16", "", 1500, sizes{1446, 1438, 1426, 1418}},
		{"CHACHA20_POLY1305", "", 1500, sizes{1446, 1438, 1426, 1418}},
		{"AES_GCM_12", "", 1500, sizes{1450, 1442, 1430, 1422}},
		{"AES_GCM_8", "", 1500, sizes{1454, 1446, 1434, 1426}},
		{"AES_CBC", "HMAC_SHA1_96", 1500, sizes{1438, 1422, 1422, 1406}},
		{"AES_CBC", "HMAC_MD5_96", 1500, sizes{1438, 1422, 1422, 1406}},
		{"AES_CBC", "AES_XCBC_96", 1500, sizes{1438, 1422, 1422, 1406}},
		{"AES_CBC", "HMAC_SHA2_256_128", 1500, sizes{1438, 1422, 1406, 1406}},
		{"AES_CBC", "HMAC_SHA2_384_192", 1500, sizes{1422, 1422, 1406, 1390}},
		{"AES_CBC", "HMAC_SHA2_512_256", 1500, sizes{1422, 1406, 1390, 1390}},
		{"3DES_CBC", "HMAC_SHA1_96", 1500, sizes{1446, 1438, 1430, 1422}},
		{"3DES_CBC", "HMAC_SHA2_256_128", 1500, sizes{1446, 1438, 1422, 1414}},
		{"NULL", "HMAC_SHA1_96", 1500, sizes{1458, 1450, 1438, 1430}},
		{"AES_GCM_16", "", 9001, sizes{8946, 8938, 8926, 8918}},
		{"AES_CBC", "HMAC_SHA1_96", 9001, sizes{8942, 8926, 8910, 8910}},
		{"AES_CBC", "HMAC_SHA2_256_128", 9001, sizes{8926, 8926, 8910, 8910}},
		{"AES_CBC", "HMAC_SHA2_512_256", 9001, sizes{8910, 8910, 8894, 8894}},
		{"AES_GCM_16", "", 50, sizes{0, 0, 0, 0}},
	} {
		suite, ok := apiv1.NegotiatedESPSuite(tc.encryption, tc.integrity)
		if !ok {
			t.Errorf("%s with %s is not known", tc.encryption, tc.integrity)
		}
		got := sizes{
			apiv1.InnerMTU(tc.outer, suite, false, false), apiv1.InnerMTU(tc.outer, suite, true, false),
			apiv1.InnerMTU(tc.outer, suite, false, true), apiv1.InnerMTU(tc.outer, suite, true, true),
		}
		if got != tc.want {
			t.Errorf("%s with %s in %d: %v, want %v", tc.encryption, tc.integrity, tc.outer, got, tc.want)
		}
	}
	for _, unknown := range [][2]string{{"AES_CBC", ""}, {"IDEA", "HMAC_SHA1_96"}, {"", ""}} {
		if suite, ok := apiv1.NegotiatedESPSuite(unknown[0], unknown[1]); ok {
			t.Errorf("%v is %+v", unknown, suite)
		}
	}
}

func TestMSS(t *testing.T) {
	if got := apiv1.MSS(1446, false); got != 1406 {
		t.Errorf("IPv4: %d", got)
	}
	if got := apiv1.MSS(1446, true); got != 1386 {
		t.Errorf("IPv6: %d", got)
	}
	if got := apiv1.MSS(20, true); got != 0 {
		t.Errorf("too small: %d", got)
	}
}

func TestProposedMTU(t *testing.T) {
	for _, tc := range []struct {
		proposals []string
		want      int
		err       string
	}{
		{apiv1.DefaultESPProposals(), 1438, ""},
		{[]string{"aes256gcm16-ecp384", "chacha20poly1305-x25519"}, 1446, ""},
		{[]string{"aes256gcm8"}, 1454, ""},
		{[]string{"aes128-aes256ctr-sha1-sha512-modp2048"}, 1422, ""},
		{[]string{"aes128-sha384-modp2048"}, 1422, ""},
		{[]string{"aes128ctr-sha256_96-modp2048"}, 1450, ""},
		{[]string{"aes256ccm12"}, 1450, ""},
		{[]string{"nonsense"}, 0, `ESP proposal nonsense: "nonsense" is not an algorithm`},
		{nil, 0, "no ESP proposal"},
	} {
		got, err := apiv1.ProposedMTU(1500, tc.proposals, false, false)
		if got != tc.want || message(err) != tc.err {
			t.Errorf("%q: %d %q, want %d %q", tc.proposals, got, message(err), tc.want, tc.err)
		}
	}
}
