//! What `/metrics` says, as whoever scrapes it gets it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast::{admin, net::Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{PATIENCE, let_pass};

/// The admin port of a proxy.
pub async fn admin_of(proxy: &Arc<Proxy>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(admin::serve(listener, Arc::clone(proxy)));
    address
}

/// A request without a body, and its answer: status, head, body.
pub async fn exchange(address: SocketAddr, head: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// A family as its comments describe it, and the names of its labels.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub labels: BTreeSet<String>,
    pub samples: usize,
}

/// One scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub text: String,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub async fn of(address: SocketAddr) -> Self {
        let (status, head, text) = exchange(address, "GET /metrics HTTP/1.0").await;
        assert_eq!(status, 200, "{text}");
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        Self::parse(text)
    }

    pub fn parse(text: String) -> Self {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
            let known = samples.insert(series.to_owned(), value.parse::<f64>().unwrap());
            assert_eq!(known, None, "{series} is there twice");
        }
        Self { text, samples }
    }

    /// The value of a series, named as in the scrape, labels and all, without `holdfast_`.
    pub fn get(&self, series: &str) -> f64 {
        let value = self.samples.get(&format!("holdfast_{series}"));
        *value.unwrap_or_else(|| panic!("there is no {series} in:\n{}", self.told()))
    }

    /// The sum of all series of a family whose labels have all these parts.
    pub fn sum(&self, family: &str, parts: &[&str]) -> f64 {
        let (bare, begins) = (format!("holdfast_{family}"), format!("holdfast_{family}{{"));
        let is_meant = |series: &&String| {
            (**series == bare || series.starts_with(&begins))
                && parts.iter().all(|part| series.contains(part))
        };
        self.samples.iter().filter(|(series, _)| is_meant(series)).map(|(_, value)| value).sum()
    }

    /// What is more than zero, for messages.
    fn told(&self) -> String {
        let some =
            self.samples.iter().filter(|(series, value)| **value != 0.0 && !series.contains("_bucket"));
        some.map(|(series, value)| format!("{series} {value}\n")).collect()
    }

    /// All series, without their values.
    pub fn series(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// The families by name.
    pub fn families(&self) -> BTreeMap<String, Family> {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        for line in self.text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                let known =
                    families.insert(name.to_owned(), Family { help: help.to_owned(), ..Family::default() });
                assert!(known.is_none(), "{name} is described twice");
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                families.get_mut(name).unwrap().kind = kind.to_owned();
            }
        }
        for series in self.samples.keys() {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let ends = ["", "_bucket", "_sum", "_count"];
            let own = ends
                .iter()
                .filter_map(|end| name.strip_suffix(end))
                .find(|name| families.contains_key(*name));
            let family = families.get_mut(own.unwrap_or_else(|| panic!("{name} is not described"))).unwrap();
            family.samples += 1;
            let keys = labels.split("=\"").filter_map(|part| part.rsplit([',', '"', '{']).next());
            family.labels.extend(keys.filter(|key| !matches!(*key, "" | "}" | "le")).map(str::to_owned));
        }
        families
    }
}

/// Scrapes until the condition holds.
pub async fn scrape_until(address: SocketAddr, what: &str, condition: impl Fn(&Scrape) -> bool) -> Scrape {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let scrape = Scrape::of(address).await;
        if condition(&scrape) {
            return scrape;
        }
        assert!(Instant::now() < deadline, "in vain: {what}:\n{}", scrape.told());
        let_pass(Duration::from_millis(20)).await;
    }
}
