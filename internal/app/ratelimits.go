package app

import (
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/ratelimit"
)

func rateLimits(s config.Limits) auth.RateLimits {
	return auth.RateLimits{
		Account:      every(time.Minute, s.AccountFailures, s.AccountFailuresPerMinute),
		AccountDay:   ratelimit.PerDay(s.AccountFailuresPerDay),
		Address:      every(time.Minute, s.AddressFailures, s.AddressFailuresPerMinute),
		Registration: every(time.Hour, s.AddressRegistrations, s.AddressRegistrationsPerHour),
		Recovery:     every(time.Hour, s.AddressMails, s.AddressMailsPerHour),
		Mails:        ratelimit.PerHour(s.MailsPerHour),
	}
}

// every returns a limit: a burst, and then so many in each period. It is off if burst or rate is 0.
func every(period time.Duration, burst, rate int) ratelimit.Limit {
	if rate == 0 {
		return ratelimit.Limit{}
	}
	return ratelimit.Limit{Burst: burst, Interval: period / time.Duration(rate)}
}
