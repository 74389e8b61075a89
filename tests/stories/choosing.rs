//! Which endpoint a request goes to: tiers, models, conversations, and those that are full.

use std::thread;

use crate::common::prelude::*;

fn ask_for(model: &str) -> Request {
    Request::new("POST", "/v1/messages").body(format!(
        r#"{{"max_tokens":1,"messages":[{{"role":"user","content":"\"model\":\"no\""}}],"model":"{model}"}}"#
    ))
}

#[test]
fn a_higher_tier_is_used_while_no_lower_one_is_available() {
    let own = Upstream::script([status(401)]);
    let (spare, last) = (Upstream::always(ok("spare")), Upstream::always(ok("last")));
    let balancer = Setup::new()
        .endpoint(last.url())
        .with("tier", 9)
        .endpoint(spare.url())
        .with("tier", 2)
        .endpoint(own.url())
        .set("maxCooldownSeconds", 0.5)
        .start();
    assert_eq!(balancer.ask().text(), "spare");
    assert_eq!(balancer.ask().text(), "spare");
    eventually("its own tier is back", || {
        (balancer.ask().served_by() == "three").then_some(())
    });
    for _ in 0..4 {
        assert_eq!(balancer.ask().served_by(), "three", "and no longer");
    }
    assert_eq!(last.count(), 0);
}

#[test]
fn a_disabled_endpoint_gets_nothing() {
    let (off, on) = (Upstream::always(ok("off")), Upstream::always(ok("on")));
    let balancer = Setup::new()
        .endpoint(off.url())
        .with("enabled", false)
        .endpoint(on.url())
        .start();
    for _ in 0..4 {
        assert_eq!(balancer.ask().text(), "on");
    }
    assert_eq!(
        balancer.get("/v1/files").text(),
        "on",
        "the first enabled one"
    );
    assert_eq!(balancer.endpoint(0)["enabled"], false);
    assert_eq!(balancer.health()["status"], "healthy");
}

#[test]
fn a_model_goes_to_who_serves_it_and_under_their_name() {
    let claude = Upstream::always(ok("claude"));
    let glm = Upstream::always(ok("glm"));
    let balancer = Setup::new()
        .endpoint(claude.url())
        .with("models", json!(["claude-*"]))
        .endpoint(glm.url())
        .with(
            "models",
            json!({"claude-opus-*": "glm-5.3", "glm-*": "glm-4.5-air"}),
        )
        .set("affinity", "off")
        .start();
    for _ in 0..2 {
        assert_eq!(balancer.send(&ask_for("claude-sonnet-5")).text(), "claude");
        assert_eq!(balancer.send(&ask_for("glm-x")).text(), "glm");
    }
    let request = glm.requests().pop().expect("a request");
    let expected = String::from_utf8(ask_for("glm-4.5-air").bytes()).expect("text");
    assert!(expected.ends_with(request.text()), "{}", request.text());
    let served: Vec<String> = (0..2)
        .map(|_| balancer.send(&ask_for("claude-opus-4")).text().to_owned())
        .collect();
    assert!(served.contains(&"claude".into()) && served.contains(&"glm".into()));
    assert!(
        glm.requests()
            .pop()
            .expect("a request")
            .text()
            .contains("glm-5.3")
    );
    let message = balancer
        .send(&ask_for("gpt-5"))
        .own_error(404, "not_found_error");
    assert!(message.contains("gpt-5"), "{message}");
    // A body that names no model is everybody's.
    assert_eq!(balancer.post("/v1/messages", "no JSON").status, 200);
}

#[test]
fn the_list_of_models_is_everybodys() {
    let list = |ids: &[&str]| {
        let data: Vec<Value> = ids
            .iter()
            .map(|id| json!({"type": "model", "id": id}))
            .collect();
        Upstream::always(ok(json!({"data": data, "has_more": false}).to_string()))
    };
    let claude = list(&["claude-a", "claude-b"]);
    let glm = list(&["claude-b", "glm-1"]);
    let broken = Upstream::always(status(500));
    let balancer = Setup::new()
        .endpoint(claude.url())
        .endpoint(glm.url())
        .with("models", json!({"claude-b": "glm-1", "my-opus": "glm-1"}))
        .endpoint(broken.url())
        .with("models", json!(["other-*"]))
        .start();
    let answer = balancer.get("/v1/models?limit=1000").json();
    let ids: Vec<&str> = answer["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|model| model["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, ["claude-a", "claude-b", "my-opus"]);
    assert_eq!(answer["has_more"], false);
    assert_eq!(
        (&answer["first_id"], &answer["last_id"]),
        (&json!("claude-a"), &json!("my-opus"))
    );
}

#[test]
fn conversations_without_a_header_keep_to_one_endpoint() {
    let ups: Vec<Upstream> = (0..4)
        .map(|n| Upstream::always(ok(n.to_string())))
        .collect();
    let balancer = balance(&ups.iter().collect::<Vec<_>>()).start();
    let body = |first: &str, turns: usize| {
        let mut messages = vec![json!({"role": "user", "content": first})];
        for turn in 0..turns {
            messages.push(json!({"role": "assistant", "content": "ok"}));
            messages.push(json!({"role": "user", "content": [{"type": "text", "text": format!("turn {turn}"), "cache_control": {"type": "ephemeral"}}]}));
        }
        json!({"model": "m", "messages": messages, "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]}).to_string()
    };
    let mut homes = std::collections::HashSet::new();
    for conversation in 0..16 {
        let first = format!("conversation {conversation}");
        let home = balancer
            .post("/v1/messages", body(&first, 0))
            .text()
            .to_owned();
        for turns in 1..4 {
            let served = balancer.post("/v1/messages", body(&first, turns));
            assert_eq!(served.text(), home, "{first}, {turns} turns");
        }
        homes.insert(home);
    }
    assert!(homes.len() > 1, "they are spread");
}

#[test]
fn other_headers_name_a_conversation_too() {
    let ups: Vec<Upstream> = (0..4)
        .map(|n| Upstream::always(ok(n.to_string())))
        .collect();
    let balancer = balance(&ups.iter().collect::<Vec<_>>()).start();
    for header in [
        "x-session-affinity",
        "x-session-id",
        "x-opencode-session",
        "x-kilocode-taskid",
        "x-client-session-id",
    ] {
        let request = Request::message().header(header, "ses-1");
        let home = balancer.send(&request).text().to_owned();
        for _ in 0..4 {
            assert_eq!(balancer.send(&request).text(), home, "{header}");
        }
    }
}

#[test]
fn a_message_that_names_a_file_goes_to_the_first_endpoint() {
    let (first, second) = (
        Upstream::always(ok("first")),
        Upstream::always(ok("second")),
    );
    let balancer = balance(&[&first, &second]).start();
    for _ in 0..4 {
        let body = r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_011"}}]}]}"#;
        assert_eq!(balancer.post("/v1/messages", body).text(), "first");
    }
}

#[test]
fn one_that_is_well_and_full_is_waited_for_rather_than_one_on_cooldown() {
    let full = Upstream::by_hand();
    let hung = Upstream::script([status(401)]);
    hung.henceforth(by_hand());
    let balancer = Setup::new()
        .endpoint(hung.url())
        .endpoint(full.url())
        .with("maxConcurrent", 1)
        .start();
    let mut first = balancer.client();
    first.send(Request::message().bytes());
    let call = full.call();
    let mut second = balancer.client();
    second.send(Request::message().bytes());
    second.hears_nothing();
    call.answer(ok("1"));
    assert_eq!(first.answer().text(), "1");
    full.call().answer(ok("2"));
    assert_eq!(second.answer().text(), "2");
    assert_eq!(hung.count(), 1, "nobody is sent to one on cooldown");
}

#[test]
fn those_who_wait_leave_half_of_the_workers_to_others() {
    let (full, idle) = (Upstream::by_hand(), Upstream::always(ok("idle")));
    let balancer = Setup::new()
        .endpoint(full.url())
        .with("maxConcurrent", 1)
        .with("models", json!(["a"]))
        .endpoint(idle.url())
        .with("models", json!(["b"]))
        .set("workers", 8)
        .start();
    let mut clients: Vec<Client> = (0..7).map(|_| balancer.client()).collect();
    clients[0].send(ask_for("a").bytes());
    let call = full.call();
    for client in &mut clients[1..5] {
        client.send(ask_for("a").bytes());
    }
    eventually("they wait", || {
        (balancer.health()["inFlight"] == 5).then_some(())
    });
    let start = Instant::now();
    for client in &mut clients[5..] {
        client.ask(&ask_for("a")).own_error(503, "overloaded_error");
    }
    assert_eq!(balancer.send(&ask_for("b")).text(), "idle");
    assert!(start.elapsed() < Duration::from_secs(5), "at once");
    full.henceforth(ok("a"));
    call.answer(ok("a"));
    thread::scope(|scope| {
        for client in &mut clients[..5] {
            scope.spawn(|| assert_eq!(client.answer().text(), "a"));
        }
    });
}

#[test]
fn a_nearly_used_up_endpoint_gets_no_new_turns() {
    let warned = Upstream::always(
        ok("warned")
            .header("anthropic-ratelimit-unified-5h-utilization", "0.97")
            .header("anthropic-ratelimit-unified-5h-status", "allowed_warning"),
    );
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&warned, &other]).start();
    let of = |session: &str| Request::message().header("x-claude-code-session-id", session);
    assert_eq!(balancer.ask().text(), "warned");
    for _ in 0..4 {
        assert_eq!(balancer.ask().text(), "other");
    }
    for session in 0..8 {
        assert_eq!(balancer.send(&of(&session.to_string())).text(), "other");
    }
}

/// Who asks while the first one is waiting gets what that one gets, and does not begin another wait.
#[test]
fn silent_endpoints_keep_lists_of_models_waiting_once() {
    let (one, two) = (Upstream::by_hand(), Upstream::by_hand());
    let balancer = Setup::new()
        .endpoint(one.url())
        .with("models", json!(["a-*"]))
        .endpoint(two.url())
        .with("models", json!(["b-*"]))
        .set("responseSeconds", 1.5)
        .start();
    let start = Instant::now();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| balancer.get("/v1/models").status))
            .collect();
        for asking in asking {
            assert_eq!(asking.join().expect("a client"), 500);
        }
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(9), "waited for once: {took:?}");
}
