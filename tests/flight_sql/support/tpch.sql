-- The 22 questions of the TPC-H benchmark with the parameters of its validation, one statement each.

select l_returnflag, l_linestatus, sum(l_quantity) as sum_qty, sum(l_extendedprice) as sum_base_price,
  sum(l_extendedprice * (1 - l_discount)) as sum_disc_price,
  sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) as sum_charge,
  avg(l_quantity) as avg_qty, avg(l_extendedprice) as avg_price, avg(l_discount) as avg_disc, count(*) as count_order
from lineitem where l_shipdate <= date '1998-09-02' group by all order by all;

with offers as (
  from part join partsupp on p_partkey = ps_partkey join supplier on s_suppkey = ps_suppkey
    join nation on n_nationkey = s_nationkey join region on r_regionkey = n_regionkey
  select * where r_name = 'EUROPE')
select s_acctbal, s_name, n_name, p_partkey, p_mfgr, s_address, s_phone, s_comment
from offers o where p_size = 15 and p_type like '%BRASS'
  and ps_supplycost = (select min(ps_supplycost) from offers i where i.p_partkey = o.p_partkey)
order by s_acctbal desc, n_name, s_name, p_partkey limit 100;

select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
from customer join orders on o_custkey = c_custkey join lineitem on l_orderkey = o_orderkey
where c_mktsegment = 'BUILDING' and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate, l_orderkey limit 10;

select o_orderpriority, count(*) as order_count from orders
where o_orderdate >= date '1993-07-01' and o_orderdate < date '1993-10-01'
  and exists (from lineitem where l_orderkey = o_orderkey and l_commitdate < l_receiptdate)
group by o_orderpriority order by o_orderpriority;

select n_name, sum(l_extendedprice * (1 - l_discount)) as revenue
from customer join orders on o_custkey = c_custkey join lineitem on l_orderkey = o_orderkey
  join supplier on s_suppkey = l_suppkey and s_nationkey = c_nationkey
  join nation on n_nationkey = s_nationkey join region on r_regionkey = n_regionkey
where r_name = 'ASIA' and o_orderdate >= date '1994-01-01' and o_orderdate < date '1995-01-01'
group by n_name order by revenue desc;

select sum(l_extendedprice * l_discount) as revenue from lineitem
where l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'
  and l_discount between 0.05 and 0.07 and l_quantity < 24;

select a.n_name as supp_nation, b.n_name as cust_nation, year(l_shipdate) as l_year,
  sum(l_extendedprice * (1 - l_discount)) as revenue
from supplier join lineitem on l_suppkey = s_suppkey join orders on o_orderkey = l_orderkey
  join customer on c_custkey = o_custkey join nation a on a.n_nationkey = s_nationkey
  join nation b on b.n_nationkey = c_nationkey
where (a.n_name, b.n_name) in (('FRANCE', 'GERMANY'), ('GERMANY', 'FRANCE'))
  and l_shipdate between date '1995-01-01' and date '1996-12-31'
group by all order by all;

select year(o_orderdate) as o_year,
  sum(l_extendedprice * (1 - l_discount)) filter (s.n_name = 'BRAZIL') / sum(l_extendedprice * (1 - l_discount)) as mkt_share
from part join lineitem on l_partkey = p_partkey join supplier on s_suppkey = l_suppkey
  join orders on o_orderkey = l_orderkey join customer on c_custkey = o_custkey
  join nation c on c.n_nationkey = c_nationkey join region on r_regionkey = c.n_regionkey
  join nation s on s.n_nationkey = s_nationkey
where r_name = 'AMERICA' and o_orderdate between date '1995-01-01' and date '1996-12-31'
  and p_type = 'ECONOMY ANODIZED STEEL'
group by o_year order by o_year;

select n_name as country, year(o_orderdate) as o_year,
  sum(l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity) as sum_profit
from part join lineitem on l_partkey = p_partkey join supplier on s_suppkey = l_suppkey
  join partsupp on ps_suppkey = l_suppkey and ps_partkey = l_partkey
  join orders on o_orderkey = l_orderkey join nation on n_nationkey = s_nationkey
where p_name like '%green%' group by country, o_year order by country, o_year desc;

select c_custkey, c_name, sum(l_extendedprice * (1 - l_discount)) as revenue, c_acctbal, n_name, c_address, c_phone, c_comment
from customer join orders on o_custkey = c_custkey join lineitem on l_orderkey = o_orderkey
  join nation on n_nationkey = c_nationkey
where o_orderdate >= date '1993-10-01' and o_orderdate < date '1994-01-01' and l_returnflag = 'R'
group by c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment order by revenue desc, c_custkey limit 20;

with stock as (
  from partsupp join supplier on s_suppkey = ps_suppkey join nation on n_nationkey = s_nationkey
  select ps_partkey, ps_supplycost * ps_availqty as worth where n_name = 'GERMANY')
select ps_partkey, sum(worth) as value from stock group by ps_partkey
having sum(worth) > (select sum(worth) * 0.0001 from stock) order by value desc, ps_partkey;

select l_shipmode, count(*) filter (o_orderpriority in ('1-URGENT', '2-HIGH')) as high_line_count,
  count(*) filter (o_orderpriority not in ('1-URGENT', '2-HIGH')) as low_line_count
from orders join lineitem on l_orderkey = o_orderkey
where l_shipmode in ('MAIL', 'SHIP') and l_commitdate < l_receiptdate and l_shipdate < l_commitdate
  and l_receiptdate >= date '1994-01-01' and l_receiptdate < date '1995-01-01'
group by l_shipmode order by l_shipmode;

with counts as (
  select c_custkey, count(o_orderkey) as c_count
  from customer left join orders on o_custkey = c_custkey and o_comment not like '%special%requests%' group by c_custkey)
select c_count, count(*) as custdist from counts group by c_count order by custdist desc, c_count desc;

select 100.00 * sum(l_extendedprice * (1 - l_discount)) filter (p_type like 'PROMO%')
  / sum(l_extendedprice * (1 - l_discount)) as promo_revenue
from lineitem join part on p_partkey = l_partkey
where l_shipdate >= date '1995-09-01' and l_shipdate < date '1995-10-01';

with revenue as (
  select l_suppkey as supplier_no, sum(l_extendedprice * (1 - l_discount)) as total_revenue from lineitem
  where l_shipdate >= date '1996-01-01' and l_shipdate < date '1996-04-01' group by l_suppkey)
select s_suppkey, s_name, s_address, s_phone, total_revenue from supplier join revenue on supplier_no = s_suppkey
where total_revenue = (select max(total_revenue) from revenue) order by s_suppkey;

select p_brand, p_type, p_size, count(distinct ps_suppkey) as supplier_cnt
from partsupp join part on p_partkey = ps_partkey
where p_brand <> 'Brand#45' and p_type not like 'MEDIUM POLISHED%' and p_size in (49, 14, 23, 45, 19, 3, 36, 9)
  and ps_suppkey not in (select s_suppkey from supplier where s_comment like '%Customer%Complaints%')
group by p_brand, p_type, p_size order by supplier_cnt desc, p_brand, p_type, p_size;

select sum(l_extendedprice) / 7.0 as avg_yearly from lineitem l join part on p_partkey = l_partkey
where p_brand = 'Brand#23' and p_container = 'MED BOX'
  and l_quantity < (select 0.2 * avg(l_quantity) from lineitem i where i.l_partkey = p_partkey);

select c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) as quantity
from customer join orders on o_custkey = c_custkey join lineitem on l_orderkey = o_orderkey
where o_orderkey in (select l_orderkey from lineitem group by l_orderkey having sum(l_quantity) > 300)
group by c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice
order by o_totalprice desc, o_orderdate, o_orderkey limit 100;

select sum(l_extendedprice * (1 - l_discount)) as revenue from lineitem join part on p_partkey = l_partkey
where l_shipmode in ('AIR', 'AIR REG') and l_shipinstruct = 'DELIVER IN PERSON' and p_size >= 1 and (
  (p_brand = 'Brand#12' and p_container like 'SM %' and l_quantity between 1 and 11 and p_size <= 5)
  or (p_brand = 'Brand#23' and p_container like 'MED %' and l_quantity between 10 and 20 and p_size <= 10)
  or (p_brand = 'Brand#34' and p_container like 'LG %' and l_quantity between 20 and 30 and p_size <= 15));

select s_name, s_address from supplier join nation on n_nationkey = s_nationkey
where n_name = 'CANADA' and s_suppkey in (
  select ps_suppkey from partsupp where ps_partkey in (select p_partkey from part where p_name like 'forest%')
    and ps_availqty > (
      select 0.5 * sum(l_quantity) from lineitem where l_partkey = ps_partkey and l_suppkey = ps_suppkey
        and l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'))
order by s_name;

select s_name, count(*) as numwait from supplier join lineitem l on l_suppkey = s_suppkey
  join orders on o_orderkey = l_orderkey join nation on n_nationkey = s_nationkey
where o_orderstatus = 'F' and l_receiptdate > l_commitdate and n_name = 'SAUDI ARABIA'
  and exists (from lineitem o where o.l_orderkey = l.l_orderkey and o.l_suppkey <> l.l_suppkey)
  and not exists (
    from lineitem o where o.l_orderkey = l.l_orderkey and o.l_suppkey <> l.l_suppkey and o.l_receiptdate > o.l_commitdate)
group by s_name order by numwait desc, s_name limit 100;

with rich as (
  select left(c_phone, 2) as cntrycode, c_custkey, c_acctbal from customer
  where left(c_phone, 2) in ('13', '31', '23', '29', '30', '18', '17'))
select cntrycode, count(*) as numcust, sum(c_acctbal) as totacctbal from rich
where c_acctbal > (select avg(c_acctbal) from rich where c_acctbal > 0)
  and not exists (from orders where o_custkey = c_custkey)
group by cntrycode order by cntrycode;
