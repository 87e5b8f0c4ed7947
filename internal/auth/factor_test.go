package auth

import "testing"

func TestAnAccountIsLetInByItsPasswordAloneOnlyIfNothingDemandsMore(t *testing.T) {
	t.Parallel()
	none, byRole := User{}, User{FactorDemanded: true}
	codes := User{Factors: FactorCount{RecoveryCodes: 10}}
	totp := User{Factors: FactorCount{TOTP: true}, FactorDemanded: true}
	passkey := User{Factors: FactorCount{Passkeys: 1}}
	for _, c := range []struct {
		mode FactorMode
		user User
		want FactorDemand
	}{
		{FactorsNone, none, DemandNothing},
		{FactorsNone, codes, DemandNothing},
		{FactorsNone, byRole, DemandEnrol},
		{FactorsNone, totp, DemandFactor},
		{FactorsOptional, none, DemandNothing},
		{FactorsOptional, byRole, DemandEnrol},
		{FactorsOptional, passkey, DemandFactor},
		{FactorsRequired, none, DemandEnrol},
		{FactorsRequired, codes, DemandEnrol},
		{FactorsRequired, totp, DemandFactor},
		{"", none, 0},
		{"on", totp, 0},
	} {
		if got := c.mode.DemandOf(c.user); got != c.want {
			t.Errorf("%q, %+v, by a role %t: %d, want %d", c.mode, c.user.Factors, c.user.FactorDemanded, got, c.want)
		}
	}
}
