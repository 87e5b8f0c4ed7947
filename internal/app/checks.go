package app

import (
	"context"
	"fmt"
	"slices"

	"gatehouse.example/db"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/doctor"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/token"
	"gatehouse.example/migrations"
)

// The checks that others need.
const (
	ofSettings = "settings"
	ofDatabase = "database"
	ofSchema   = "schema"
)

// startChecks are what a replica looks at when it starts, and [Examine] too. They change nothing.
// The parts are asked for only when a check is done.
func startChecks(
	s config.Serve, o Options, store *db.DB, rules *rules, lane *password.Lane,
) []doctor.Check {
	return []doctor.Check{
		{Name: ofDatabase, Needs: ofSettings, Look: func(ctx context.Context) doctor.Finding {
			return doctor.Unless(store.Check(ctx),
				"see that DATABASE_URL leads to PostgreSQL, and that the database is as docs/postgresql.md says",
				"it answers, and is in UTF8")
		}},
		{Name: ofSchema, Needs: ofDatabase, Look: func(ctx context.Context) doctor.Finding {
			return doctor.Unless((&readiness{schema: store.SchemaVersion}).checkSchema(ctx),
				"run `gatehouse migrate` of this version",
				fmt.Sprintf("as this version needs it: %d or newer", migrations.Latest()))
		}},
		{Name: "peppers", Needs: ofSchema, Look: func(ctx context.Context) doctor.Finding {
			return doctor.Unless(rules.peppers.Check(ctx),
				"docs/operations.md says how PASSWORD_PEPPER is rotated",
				"PASSWORD_PEPPER has every key that stored passwords need")
		}},
		{Name: "passkeys", Needs: ofSchema, Look: func(ctx context.Context) doctor.Finding {
			return doctor.Unless(rules.factors.CheckRP(ctx),
				"docs/operations.md says what passkeys are bound to",
				"no passkey is bound to another id than that of the settings")
		}},
		{Name: "secret key", Needs: ofSchema, Look: func(ctx context.Context) doctor.Finding {
			return doctor.Unless(rules.keys.Check(ctx),
				"give SECRET_KEY the value that the other replicas have",
				"SECRET_KEY is that of this installation")
		}},
		{Name: "tutorial tokens", Needs: ofSchema, Look: func(ctx context.Context) doctor.Finding {
			return tutorialTokens(ctx, s, rules.keys)
		}},
		{Name: "rights", Needs: ofSchema, Look: ofServer(store, o, func(s doctor.Server) doctor.Finding {
			return doctor.Rights(s.Role)
		})},
		{Name: "priority", Needs: ofSettings, Look: func(context.Context) doctor.Finding {
			stats := lane.Stats()
			return doctor.Priority(stats.LowPriority, stats.Threads)
		}},
	}
}

// asked is a check of facts that the database has.
func asked[F any](
	ask func(context.Context) (F, error), judge func(F) doctor.Finding,
) func(context.Context) doctor.Finding {
	return func(ctx context.Context) doctor.Finding {
		facts, err := ask(ctx)
		if err != nil {
			return doctor.Broken(err, "see that the database answers")
		}
		return judge(facts)
	}
}

// ofServer is a check of what the server says of itself.
func ofServer(
	store *db.DB, o Options, judge func(doctor.Server) doctor.Finding,
) func(context.Context) doctor.Finding {
	return asked(func(ctx context.Context) (doctor.Server, error) {
		return store.Server(ctx, o.Clock)
	}, judge)
}

// tutorialTokens fails if TUTORIAL_TOKENS would do nothing, since another key signs than its
// services know. There may be no key yet. The first one is of ALGORITHM.
func tutorialTokens(ctx context.Context, s config.Serve, keys *auth.KeyLoader) doctor.Finding {
	if s.TutorialTokens != "on" {
		return doctor.Good("off")
	}
	stored, err := keys.Stored(ctx)
	if err == nil && slices.ContainsFunc(stored, func(k auth.SigningKey) bool {
		return k.Use == auth.KeyForAccess && k.State == auth.KeyActive && k.Algorithm != token.HS256
	}) {
		err = &config.Error{Setting: "TUTORIAL_TOKENS",
			Problem: "the signing key in use is not of HS256: without it, run `gatehouse key rotate --algorithm HS256`"}
	}
	return doctor.Unless(err, "docs/integrating.md says what TUTORIAL_TOKENS does", "on, and HS256 signs")
}
