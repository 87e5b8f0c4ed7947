package app

import (
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/ratelimit"
)

func rateLimits(s config.Limits) auth.RateLimits {
	return auth.RateLimits{
		Account:      every(time.Minute, s.AccountFailures, s.AccountFailuresPerMinute),
		AccountDay:   ratelimit.PerDay(s.AccountFailuresPerDay),
		Address:      every(time.Minute, s.AddressFailures, s.AddressFailuresPerMinute),
		Registration: every(time.Hour, s.AddressRegistrations, s.AddressRegistrationsPerHour),
	}
}

// every is the limit of a burst, and then so many in each period; off if either is 0.
func every(period time.Duration, burst, rate int) ratelimit.Limit {
	if rate == 0 {
		return ratelimit.Limit{}
	}
	return ratelimit.Limit{Burst: burst, Interval: period / time.Duration(rate)}
}
